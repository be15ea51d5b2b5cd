// Package storage holds the controls of the storage domain: one file each,
// listed here by hand.
package storage

import "github.com/snapback-aws/snapback/pkg/control"

// Domain returns the storage domain. Every call builds its own values, so that
// parameters decoded into one are not seen by another.
func Domain() control.Domain {
	return control.Domain{
		Name: "storage",
		Controls: []control.Control{
			s3BucketPublicAccess(),
			s3AccountPublicAccess(),
		},
	}
}
