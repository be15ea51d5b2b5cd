package iampolicy

import "sync"

// Account is an account with the principals that are known of it. Parts of it are
// worked out at the first question and kept: ask about a changed one as another
// Account.
type Account struct {
	ID        string // 12 digits; empty if it is not known
	Partition string // "aws"; empty if it is not known
	// Whole says that Principals are all users, groups and roles that the account
	// has: what is not among them does not exist. Else others may.
	Whole      bool
	Principals []*Principal
	// Policies are the customer managed policies by ARN, attached or not, with the
	// documents of all versions that are known, newest first.
	Policies map[string][]PolicyVersion

	mu    sync.Mutex
	reach *reach
}

// PolicyVersion is one version of a managed policy.
type PolicyVersion struct {
	ID      string // "v3"
	Default bool
	// Document is nil if it could not be understood.
	Document *Document
}
