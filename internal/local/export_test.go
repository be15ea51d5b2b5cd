package local

// For the tests outside of this package.
var (
	StartTestAWS = startAWS
	StartEcho    = startEcho
	Eventually   = eventually
)
