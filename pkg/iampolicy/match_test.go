package iampolicy

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAPatternStandsForWhatIAMSays(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		fold, want    bool
	}{
		{"*", "", false, true},
		{"", "", false, true},
		{"", "a", false, false},
		{"iam:Pass?ole", "iam:PassRole", true, true},
		{"IAM:passrole", "iam:PassRole", true, true},
		{"iam:passrole", "iam:PassRole", false, false},
		{"iam:*Role*Policy", "iam:AttachRolePolicy", true, true},
		{"iam:*Role*Policy", "iam:AttachUserPolicy", true, false},
		{"iam:*Role*Policy", "iam:DeleteRolePermissionsBoundary", true, false},
		{"arn:aws:s3:::b/*", "arn:aws:s3:::b/a:b:c", false, true},
		{"arn:*:role/x", "arn:aws:iam::222222222222:role/x", false, true},
		{"arn:aws:s3:::b", "arn:aws:s3:::B", false, false},
		{"a?c", "ac", false, false},
		{"a??", "aé", false, false},
		{"a?", "aé", false, true},
		{"*?é", "éé", false, true},
		{literal("a*b?"), "a*b?", false, true},
		{literal("a*b"), "axb", false, false},
		{"*" + literal("*"), "a*", false, true},
	} {
		if got := match(tt.pattern, tt.text, tt.fold); got != tt.want {
			t.Errorf("match(%q, %q, fold %t) = %t", tt.pattern, tt.text, tt.fold, got)
		}
	}
}

func TestPatternsOverlapAndCover(t *testing.T) {
	for _, tt := range []struct {
		a, b            string
		overlap, covers bool // covers: b is all of a's
	}{
		{"*", "*", true, true},
		{"*", "", true, true},
		{"s3:*", "s3:Get*", true, true},
		{"s3:Get*", "s3:*", true, false},
		{"s3:Get*", "s3:*Object", true, false},
		{"s3:Get*", "S3:getobject", true, true},
		{"s3:Get*", "iam:*", false, false},
		{"a*b", "b*a", false, false},
		{"a*b", "a*c*b", true, true},
		{"?*", "?", true, true},
		{"?", "*", true, false},
		{"??", "?", false, false},
		{"a*", "a", true, true},
		{"*a*a*", "a", false, false},
		{"*é", "a?", true, false},
		{literal("*"), "*", true, false},
		{literal("*"), "a", false, false},
		{literal("*"), literal("*"), true, true},
		{"?", literal("*"), true, true},
	} {
		if got := overlap(tt.a, tt.b, true); got != tt.overlap {
			t.Errorf("overlap(%q, %q) = %t", tt.a, tt.b, got)
		}
		if got := overlap(tt.b, tt.a, true); got != tt.overlap {
			t.Errorf("overlap(%q, %q) = %t", tt.b, tt.a, got)
		}
		if got := covers(tt.a, tt.b, true); got != tt.covers {
			t.Errorf("covers(%q, %q) = %t", tt.a, tt.b, got)
		}
	}
}

// texts are all texts of up to five letters of an alphabet of three.
func texts() []string {
	all := []string{""}
	for i := 0; len(all[i]) < 5; i++ {
		for _, c := range "abc" {
			all = append(all, all[i]+string(c))
		}
	}
	return all
}

// standsFor is what match is, said the simple and slow way.
func standsFor(pattern, text string) bool {
	switch {
	case pattern == "":
		return text == ""
	case pattern[0] == '*':
		return standsFor(pattern[1:], text) || text != "" && standsFor(pattern, text[1:])
	case text == "":
		return false
	}
	return (pattern[0] == '?' || pattern[0] == text[0]) && standsFor(pattern[1:], text[1:])
}

// With patterns of two letters and texts of three, of up to five letters each, what
// overlaps does so in one of the texts; c is a letter that no pattern names.
func TestPatternsAgreeWithAllTheTextsThatTheyStandFor(t *testing.T) {
	all := texts()
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.RuneFrom([]rune("ab*?")), 0, 3, -1)
		a, b := pattern.Draw(t, "a"), pattern.Draw(t, "b")
		common, covered := false, true
		for _, text := range all {
			inA, inB := standsFor(a, text), standsFor(b, text)
			if match(a, text, false) != inA {
				t.Fatalf("match(%q, %q) = %t", a, text, !inA)
			}
			common = common || inA && inB
			covered = covered && (inA || !inB)
		}
		if overlap(a, b, false) != common {
			t.Errorf("overlap(%q, %q) = %t", a, b, !common)
		}
		if covers(a, b, false) && !covered {
			t.Errorf("covers(%q, %q), but does not", a, b)
		}
		ordered := !strings.Contains(a+" "+b, "*?") && !strings.Contains(a+" "+b, "?*")
		if ordered && covered && !covers(a, b, false) {
			t.Errorf("%q covers %q, but covers does not say so", a, b)
		}
	})
}

func TestANameHasNoColon(t *testing.T) {
	asked := withNames("arn:aws:iam::222222222222:role/*")
	for pattern, want := range map[string]bool{
		"arn:aws:iam::*:user/alice":              false,
		"arn:aws:iam::*:role/alice":              true,
		"arn:aws:iam::*alice":                    true,
		"*":                                      true,
		"arn:*:role/*":                           true,
		"arn:aws:iam::222222222222:role/a?*":     true,
		"arn:aws:iam::222222222222:role/*:*":     false,
		"arn:aws:iam::222222222222:role/":        true,
		"arn:aws:iam::222222222222:instance-*/*": false,
	} {
		if got := overlap(pattern, asked, false); got != want {
			t.Errorf("%s: %t", pattern, got)
		}
		if got := overlap(asked, pattern, false); got != want {
			t.Errorf("the other way, %s: %t", pattern, got)
		}
	}
	if !covers("arn:aws:iam::*", asked, false) || !covers("arn:*:role/*", asked, false) || covers("arn:aws:iam::*:role/?*", asked, false) {
		t.Error("what covers all names is not seen")
	}
	if got := withNames("arn:aws:s3:::b/*"); got != "arn:aws:s3:::b/*" {
		t.Errorf("keys of S3 may have colons: %q", got)
	}
}

func TestMatchingIsBoundedForHostilePatterns(t *testing.T) {
	pattern := strings.Repeat("*a", 10_000) + "b"
	text := strings.Repeat("a", 2_000)
	start := time.Now()
	if match(pattern, text, false) || covers(pattern, text+"*", false) {
		t.Error("a text without b matches")
	}
	if overlap(pattern, text, false) {
		t.Error("a text without b overlaps")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
