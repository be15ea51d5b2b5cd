// Package controls lists every domain. Functions import their own domain
// alone; the command line and the generators import this list.
package controls

import (
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/identity"
	"github.com/snapback-aws/snapback/pkg/controls/network"
	"github.com/snapback-aws/snapback/pkg/controls/storage"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

// Domains returns every domain, in the order of the docs.
func Domains() []control.Domain {
	return []control.Domain{
		storage.Domain(),
		network.Domain(),
		identity.Domain(),
		runbooks.Domain(),
	}
}

// All returns the controls of every domain.
func All() []control.Control {
	var all []control.Control
	for _, d := range Domains() {
		all = append(all, d.Controls...)
	}
	return all
}
