package network

import "github.com/aws/aws-sdk-go-v2/service/ec2/types"

// Beyond, ParseRange and IsPrivate let tests ask which ranges have to go, and
// how one is read.
var (
	Beyond     = beyond
	ParseRange = parseRange
	IsPrivate  = isPrivate
)

// Open lets tests ask which rules of a group have to go, by their IDs, with the
// Params of OpenIngress.
func Open(params any, of []types.SecurityGroupRule) ([]string, error) {
	var rules []rule
	for i := range of {
		rules = append(rules, newRule(&of[i]))
	}
	open, err := params.(*openIngress).open(rules)
	var ids []string
	for _, r := range open {
		ids = append(ids, r.id)
	}
	return ids, err
}

// Permission lets tests see how a rule is put back.
func Permission(of types.SecurityGroupRule) types.IpPermission {
	r := newRule(&of)
	return r.permission()
}

// Tags lets tests see which tags of a rule are kept.
func Tags(of types.SecurityGroupRule) map[string]string {
	r := newRule(&of)
	return r.Tags
}

// SetCloseUsed sets the parameter of the control of default groups.
func SetCloseUsed(params any, to bool) { params.(*defaultClosed).CloseUsed = to }
