package iampolicy_test

import (
	"testing"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

func TestTrusts(t *testing.T) {
	root := prefix + "root"
	may := allow(prefix+"role/target", "sts:AssumeRole")
	mfa := statement{"Bool": statement{"aws:MultiFactorAuthPresent": "true"}}
	noSTS := &iampolicy.Policy{Document: document(t, allow("*", "s3:*"))}
	for _, tt := range []struct {
		name  string
		trust []statement
		by    *iampolicy.Principal
		want  iampolicy.Answer
	}{
		{"by name", []statement{trust(byARN(prefix + "user/ursula"))}, user(t, "ursula"), iampolicy.Yes},
		{"by another's name", []statement{trust(byARN(prefix + "user/otto"))}, user(t, "ursula", may), iampolicy.No},
		{"by name, denied by its policies", []statement{trust(byARN(prefix + "user/ursula"))}, user(t, "ursula", deny("*", "sts:*")), iampolicy.No},
		{"by name, a user's boundary", []statement{trust(byARN(prefix + "user/ursula"))}, bounded(user(t, "ursula"), noSTS), iampolicy.Yes},
		{"by name, a role's boundary", []statement{trust(byARN(prefix + "role/robot"))}, bounded(role(t, "robot", byService("ec2")), noSTS), iampolicy.No},
		{"account, allowed", []statement{trust(byARN(root))}, user(t, "ursula", may), iampolicy.Yes},
		{"account by number, allowed", []statement{trust(byARN("222222222222"))}, user(t, "ursula", may), iampolicy.Yes},
		{"account, not allowed", []statement{trust(byARN(root))}, user(t, "ursula"), iampolicy.No},
		{"account, allowed on another role", []statement{trust(byARN(root))}, user(t, "ursula", allow(prefix+"role/other", "sts:AssumeRole")), iampolicy.No},
		{"another account", []statement{trust(byARN("arn:aws:iam::333333333333:root"))}, user(t, "ursula", may), iampolicy.No},
		{"anybody", []statement{trust("*")}, user(t, "ursula"), iampolicy.Yes},
		{"anybody of AWS", []statement{trust(byARN("*"))}, user(t, "ursula"), iampolicy.Yes},
		{"service", []statement{trust(byService("ec2"))}, user(t, "ursula", may), iampolicy.No},
		{"group", []statement{trust(byARN(root))}, group(t, "operators", may), iampolicy.No},
		{"condition not known", []statement{trust(byARN(root)).with("Condition", mfa)}, user(t, "ursula", may), iampolicy.Conditional},
		{"condition on the principal that holds", []statement{trust(byARN("*")).with("Condition", statement{"ArnLike": statement{"aws:PrincipalArn": prefix + "user/ur*"}})}, user(t, "ursula"), iampolicy.Yes},
		{"condition on the principal that does not", []statement{trust(byARN("*")).with("Condition", statement{"ArnLike": statement{"aws:PrincipalArn": prefix + "role/*"}})}, user(t, "ursula"), iampolicy.No},
		{"denied", []statement{trust(byARN(root)), trust(byARN(prefix+"user/ursula")).with("Effect", "Deny")}, user(t, "ursula", may), iampolicy.No},
		{"all but some denied", []statement{trust(byARN(root)), {"Effect": "Deny", "NotPrincipal": byARN(prefix + "user/otto"), "Action": "sts:AssumeRole"}}, user(t, "ursula", may), iampolicy.No},
		{"another action", []statement{trust(byARN(prefix+"user/ursula")).with("Action", "sts:TagSession")}, user(t, "ursula"), iampolicy.No},
		{"all actions", []statement{trust(byARN(prefix+"user/ursula")).with("Action", "sts:*")}, user(t, "ursula"), iampolicy.Yes},
		{"a session of the role", []statement{trust(byARN("arn:aws:sts::222222222222:assumed-role/robot/nightly"))}, role(t, "robot", byService("ec2")), iampolicy.Conditional},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := made(t, iampolicy.Role, "target", nil)
			target.Trust = document(t, tt.trust...)
			if got := whole(target, tt.by).Trusts(target, tt.by); got != tt.want {
				t.Errorf("it trusts %s: %s, want %s", tt.by.Name(), got, tt.want)
			}
		})
	}
	t.Run("unknown trust policy", func(t *testing.T) {
		target := made(t, iampolicy.Role, "target", nil)
		if got := whole(target).Trusts(target, user(t, "ursula")); got != iampolicy.Conditional {
			t.Errorf("it trusts: %s, want %s", got, iampolicy.Conditional)
		}
	})
}

func bounded(p *iampolicy.Principal, boundary *iampolicy.Policy) *iampolicy.Principal {
	p.Boundary = boundary
	return p
}

func TestTrustsService(t *testing.T) {
	lambda := byService("lambda")
	pool := statement{"Effect": "Allow", "Principal": map[string]any{"Federated": "lambda.amazonaws.com"}, "Action": "sts:AssumeRoleWithWebIdentity"}
	for _, tt := range []struct {
		name  string
		trust []statement
		want  iampolicy.Answer
	}{
		{"it", []statement{trust(lambda)}, iampolicy.Yes},
		{"several", []statement{trust(map[string]any{"Service": []string{"ec2.amazonaws.com", "lambda.amazonaws.com"}})}, iampolicy.Yes},
		{"another", []statement{trust(byService("ec2"))}, iampolicy.No},
		{"in China", []statement{trust(map[string]any{"Service": "lambda.amazonaws.com.cn"})}, iampolicy.Yes},
		{"federated", []statement{pool}, iampolicy.Yes},
		{"from this account", []statement{trust(lambda).with("Condition", statement{"StringEquals": statement{"aws:SourceAccount": "222222222222"}})}, iampolicy.Yes},
		{"from another account", []statement{trust(lambda).with("Condition", statement{"StringEquals": statement{"aws:SourceAccount": "333333333333"}})}, iampolicy.No},
		{"for one function", []statement{trust(lambda).with("Condition", statement{"ArnLike": statement{"aws:SourceArn": "arn:aws:lambda:*:*:function:one"}})}, iampolicy.Conditional},
		{"denied", []statement{trust(lambda), trust(lambda).with("Effect", "Deny")}, iampolicy.No},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := made(t, iampolicy.Role, "target", nil)
			target.Trust = document(t, tt.trust...)
			if got := target.TrustsService("lambda.amazonaws.com"); got != tt.want {
				t.Errorf("it is %s, want %s", got, tt.want)
			}
		})
	}
	if got := user(t, "ursula").TrustsService("lambda.amazonaws.com"); got != iampolicy.No {
		t.Errorf("a user trusts a service: %s", got)
	}
}
