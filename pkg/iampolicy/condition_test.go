package iampolicy_test

import (
	"fmt"
	"testing"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

func TestAConditionHoldsNeverOrByWhatIsNotKnown(t *testing.T) {
	const no, conditional, yes = iampolicy.No, iampolicy.Conditional, iampolicy.Yes
	known := iampolicy.Context{
		"k": {"Blue"}, "many": {"a", "b"}, "none": {}, "n": {"10"}, "day": {"2026-05-01T00:00:00Z"}, "flag": {"true"},
		"ip": {"203.0.113.9"}, "ip6": {"2001:db8::1"}, "arn": {"arn:aws:iam::222222222222:role/app/x"}, "star": {"a*c"},
		"bin": {"QQ=="},
	}
	for condition, want := range map[string]iampolicy.Answer{
		// Text.
		`"StringEquals": {"k": "Blue"}`:              yes,
		`"StringEquals": {"K": ["red", "Blue"]}`:     yes,
		`"StringEquals": {"k": "blue"}`:              no,
		`"StringEquals": {"k": "B*"}`:                no,
		`"StringEquals": {"star": "a*c"}`:            yes,
		`"StringEquals": {"u": "x"}`:                 conditional,
		`"StringEquals": {"none": "x"}`:              no,
		`"StringEquals": {"u": []}`:                  no,
		`"StringNotEquals": {"k": "Blue"}`:           no,
		`"StringNotEquals": {"k": "red"}`:            yes,
		`"StringNotEquals": {"none": "x"}`:           yes,
		`"StringNotEquals": {"u": "x"}`:              conditional,
		`"StringNotEquals": {"u": []}`:               yes,
		`"StringEqualsIgnoreCase": {"k": "bLUE"}`:    yes,
		`"StringNotEqualsIgnoreCase": {"k": "bLUE"}`: no,
		`"StringLike": {"k": "B?u*"}`:                yes,
		`"StringLike": {"k": "b*"}`:                  no,
		`"StringLike": {"u": "*"}`:                   conditional,
		`"StringNotLike": {"k": "B*"}`:               no,
		`"StringNotLike": {"u": "*"}`:                conditional,
		`"StringEquals": {"star": "${*}"}`:           no,
		`"StringLike": {"star": "a${*}c"}`:           yes,
		`"StringLike": {"k": "B${?}ue"}`:             no,
		`"StringEquals": {"k": "${k}"}`:              yes,
		`"StringEquals": {"k": "${u}"}`:              conditional,
		`"StringEquals": {"k": "x${u}"}`:             no,
		`"StringEquals": {"k": "${none}"}`:           no,
		`"StringNotEquals": {"k": "${none}"}`:        conditional,
		`"StringEquals": {"k": "${none, 'Blue'}"}`:   yes,
		`"StringEquals": {"k": "${k, 'Green'}"}`:     yes,
		`"StringLike": {"k": "${star}"}`:             no,
		`"StringLike": {"star": "${star}"}`:          yes,
		`"StringEquals": {"k": "${k"}`:               no,
		// IfExists and Null.
		`"StringEqualsIfExists": {"none": "x"}`:    yes,
		`"StringEqualsIfExists": {"k": "x"}`:       no,
		`"StringEqualsIfExists": {"u": "x"}`:       conditional,
		`"StringLikeIfExists": {"u": "*"}`:         yes,
		`"StringNotEqualsIfExists": {"none": "x"}`: yes,
		`"Null": {"none": "true"}`:                 yes,
		`"Null": {"none": "false"}`:                no,
		`"Null": {"k": "false"}`:                   yes,
		`"Null": {"u": "true"}`:                    conditional,
		`"Null": {"u": ["true", "false"]}`:         yes,
		`"Null": {"u": "perhaps"}`:                 no,
		`"NullIfExists": {"u": "true"}`:            conditional,
		// Sets.
		`"ForAllValues:StringEquals": {"many": ["a", "b"]}`: yes,
		`"ForAllValues:StringEquals": {"many": ["a"]}`:      no,
		`"ForAllValues:StringEquals": {"none": ["a"]}`:      yes,
		`"ForAllValues:StringEquals": {"u": ["a"]}`:         conditional,
		`"ForAllValues:StringLike": {"u": "*"}`:             yes,
		`"ForAllValues:StringNotEquals": {"many": ["c"]}`:   yes,
		`"ForAllValues:StringNotEquals": {"many": ["b"]}`:   no,
		`"ForAnyValue:StringEquals": {"many": ["b", "c"]}`:  yes,
		`"ForAnyValue:StringEquals": {"many": ["c"]}`:       no,
		`"ForAnyValue:StringEquals": {"none": ["a"]}`:       no,
		`"ForAnyValue:StringNotEquals": {"many": ["a"]}`:    yes,
		`"ForAnyValue:StringNotEquals": {"none": ["a"]}`:    no,
		`"ForAnyValue:StringLikeIfExists": {"none": "a"}`:   yes,
		`"StringEquals": {"many": "b"}`:                     yes,
		`"StringNotEquals": {"many": "b"}`:                  no,
		// Numbers, dates, addresses and the like.
		`"NumericEquals": {"n": "10.0"}`:                     yes,
		`"NumericNotEquals": {"n": "10"}`:                    no,
		`"NumericLessThan": {"n": "10"}`:                     no,
		`"NumericLessThanEquals": {"n": "10"}`:               yes,
		`"NumericGreaterThan": {"n": "9"}`:                   yes,
		`"NumericGreaterThanEquals": {"n": "11"}`:            no,
		`"NumericLessThan": {"u": "ten"}`:                    no,
		`"NumericLessThan": {"u": "10"}`:                     conditional,
		`"NumericLessThan": {"k": "10"}`:                     no,
		`"DateLessThan": {"day": "2026-05-02"}`:              yes,
		`"DateGreaterThan": {"day": "2026-05-02T00:00Z"}`:    no,
		`"DateGreaterThan": {"day": "1700000000"}`:           yes,
		`"DateGreaterThanEquals": {"day": "2026-05"}`:        yes,
		`"DateLessThanEquals": {"day": "2026"}`:              no,
		`"DateEquals": {"day": "2026-05-01T02:00:00+02:00"}`: yes,
		`"DateLessThan": {"u": "yesterday"}`:                 no,
		`"Bool": {"flag": "TRUE"}`:                           yes,
		`"Bool": {"flag": "false"}`:                          no,
		`"Bool": {"aws:SecureTransport": "true"}`:            conditional,
		`"Bool": {"aws:SecureTransport": "perhaps"}`:         no,
		`"BoolIfExists": {"none": "false"}`:                  yes,
		`"Bool": {"flag": "${flag}"}`:                        conditional,
		`"IpAddress": {"ip": "203.0.113.0/24"}`:              yes,
		`"IpAddress": {"ip": "203.0.113.9"}`:                 yes,
		`"IpAddress": {"ip": "203.0.113.8"}`:                 no,
		`"IpAddress": {"ip6": "2001:db8::/32"}`:              yes,
		`"IpAddress": {"ip": "2001:db8::/32"}`:               no,
		`"NotIpAddress": {"ip": "203.0.113.0/24"}`:           no,
		`"IpAddress": {"u": "everywhere"}`:                   no,
		`"IpAddress": {"u": "0.0.0.0/0"}`:                    conditional,
		`"BinaryEquals": {"bin": "QQ=="}`:                    yes,
		`"BinaryEquals": {"bin": "Qg=="}`:                    no,
		`"ArnLike": {"arn": "arn:aws:iam::*:role/*"}`:        yes,
		`"ArnEquals": {"arn": "arn:aws:iam::*:role/*"}`:      yes,
		`"ArnLike": {"arn": "arn:*:role/app/x"}`:             conditional,
		`"ArnLike": {"arn": "arn:*:*:*:role/app/x:*"}`:       no,
		`"ArnLike": {"arn": "*"}`:                            yes,
		`"ArnNotLike": {"arn": "arn:aws:iam::*:user/*"}`:     yes,
		`"ArnLike": {"k": "arn:aws:iam::*:role/*"}`:          no,
		`"ArnLike": {"u": "arn:aws:iam::*:role/*"}`:          conditional,
		// What AWS may have and this package not.
		`"StringResembles": {"k": "Blue"}`: conditional,
		// Several.
		`"StringEquals": {"k": "Blue", "u": "x"}`:                                        conditional,
		`"StringEquals": {"k": "red", "u": "x"}`:                                         no,
		`"StringEquals": {"u": ["a", "b"]}, "StringLike": {"U": ["c*", "d"]}`:            no,
		`"StringEquals": {"u": ["a", "b"]}, "StringLike": {"u": ["b*", "d"]}`:            conditional,
		`"StringEquals": {"u": "a"}, "StringNotEquals": {"u": "a"}`:                      no,
		`"StringEquals": {"u": "a"}, "Null": {"u": "true"}`:                              no,
		`"StringEquals": {"u": "a"}, "StringEqualsIgnoreCase": {"u": "A"}`:               conditional,
		`"StringEquals": {"u": "${v}"}, "StringLike": {"u": "c*"}`:                       conditional,
		`"ForAllValues:StringEquals": {"u": "a"}, "ForAllValues:StringLike": {"u": "b"}`: conditional,
	} {
		p := principal(t, "user/alice", fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
			{"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": {%s}}]}`, condition))
		if got := p.May("s3:GetObject", "arn:aws:s3:::b/k", known); got != want {
			t.Errorf("%s: %v, want %v", condition, got, want)
		}
	}
}

func TestAPrincipalKnowsItself(t *testing.T) {
	const no, conditional, yes = iampolicy.No, iampolicy.Conditional, iampolicy.Yes
	for _, tt := range []struct {
		condition  string
		user, role iampolicy.Answer
	}{
		{`"StringEquals": {"aws:PrincipalArn": "arn:aws:iam::222222222222:user/team/alice"}`, yes, no},
		{`"ArnLike": {"AWS:principalARN": "arn:*:iam::*:role/team/*"}`, no, yes},
		{`"StringEquals": {"aws:PrincipalAccount": "222222222222"}`, yes, yes},
		{`"StringNotEquals": {"aws:PrincipalAccount": "222222222222"}`, no, no},
		{`"StringEquals": {"aws:PrincipalType": "User"}`, yes, no},
		{`"StringEquals": {"aws:PrincipalType": "AssumedRole"}`, no, yes},
		{`"Bool": {"aws:PrincipalIsAWSService": "true"}`, no, no},
		{`"StringEquals": {"aws:username": "alice"}`, yes, no},
		{`"Null": {"aws:username": "true"}`, no, yes},
		{`"StringEquals": {"aws:userid": "AIDAEXAMPLE0000000001"}`, yes, no},
		{`"StringLike": {"aws:userid": "AIDAEXAMPLE*:*"}`, no, yes},
		{`"StringEquals": {"aws:userid": "AIDAEXAMPLE0000000001:ci"}`, no, conditional},
		{`"StringNotLike": {"aws:userid": "AROAOTHER:*"}`, yes, yes},
		{`"StringEquals": {"aws:PrincipalTag/Team": "blue"}`, yes, yes},
		{`"StringEquals": {"aws:principaltag/team": "red"}`, no, no},
		{`"StringEquals": {"aws:PrincipalTag/other": "x"}`, no, no},
		{`"StringEquals": {"aws:PrincipalOrgID": "o-example1234"}`, conditional, conditional},
		{`"StringEquals": {"aws:PrincipalTag/team": "${aws:PrincipalTag/TEAM}"}`, yes, yes},
	} {
		document := fmt.Sprintf(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {%s}}}`, tt.condition)
		for name, want := range map[string]iampolicy.Answer{"user/team/alice": tt.user, "role/team/ci": tt.role} {
			p := principal(t, name, document)
			p.ID, p.Tags = "AIDAEXAMPLE0000000001", map[string]string{"team": "blue"}
			p.Trust = parse(t, `{"Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}}`)
			if got := p.May("s3:GetObject", "*", nil); got != want {
				t.Errorf("%s: %s: %v, want %v", name, tt.condition, got, want)
			}
		}
	}
}

func TestTagsThatASessionMayBringAreNotKnown(t *testing.T) {
	p := principal(t, "role/ci", `{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalTag/team": "blue"}}}}`)
	p.Tags = map[string]string{"team": "red"}
	for trust, want := range map[string]iampolicy.Answer{
		`{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}}`:                     iampolicy.No,
		`{"Statement": {"Effect": "Allow", "Principal": "*", "Action": ["sts:AssumeRole", "sts:TagSession"]}}`: iampolicy.Conditional,
		`{"Statement": {"Effect": "Deny", "Principal": "*", "Action": ["sts:AssumeRole", "sts:TagSession"]}}`:  iampolicy.No,
	} {
		p.Trust = parse(t, trust)
		if got := p.May("s3:GetObject", "*", nil); got != want {
			t.Errorf("%s: %v, want %v", trust, got, want)
		}
	}
	p.Tags = nil
	if got := p.May("s3:GetObject", "*", nil); got != iampolicy.Conditional {
		t.Errorf("tags that were not read make it %v", got)
	}
}

func TestWhatTheCallerKnowsGoesFirst(t *testing.T) {
	p := principal(t, "role/ci", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/${aws:userid}"}}`)
	known := iampolicy.Context{"aws:userid": {"AROAEXAMPLE:ci"}}
	if got := p.May("s3:GetObject", "arn:aws:s3:::b/AROAEXAMPLE:ci", known); got != iampolicy.Yes {
		t.Errorf("its session's own folder: %v", got)
	}
	if got := p.May("s3:GetObject", "arn:aws:s3:::b/AROAEXAMPLE:other", known); got != iampolicy.No {
		t.Errorf("another session's folder: %v", got)
	}
}
