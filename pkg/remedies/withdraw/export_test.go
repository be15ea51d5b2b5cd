package withdraw

import "time"

// Hurry makes an undo look so many times, with no time between, whether an
// attached instance is in service.
func Hurry(looks int) (restore func()) {
	was := settleWaits
	settleWaits = make([]time.Duration, looks)
	return func() { settleWaits = was }
}
