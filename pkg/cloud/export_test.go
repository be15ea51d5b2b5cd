package cloud

// For the tests of this package.
var (
	DialLoopback = dialLoopback
	SessionName  = sessionName
)
