package deployment

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// Fingerprint tells forwarding rules from others by their names and patterns:
// the first 12 hexadecimal digits of a SHA-256.
func Fingerprint(rules []control.Rule) string {
	patterns := map[string]json.RawMessage{}
	for _, r := range rules {
		patterns[Rule(r.Name)] = json.RawMessage(r.Pattern.String())
	}
	return fingerprint(patterns)
}

// FingerprintOf is the fingerprint of rules as EventBridge has them in an account:
// their patterns by name, with the account that each names. An error says which
// pattern can't be one of ours.
func FingerprintOf(account string, deployed map[string]string) (string, error) {
	patterns := map[string]json.RawMessage{}
	for name, text := range deployed {
		pattern, err := event.ParsePattern(text)
		if err != nil {
			return "", fmt.Errorf("the pattern of rule %s: %w", name, err)
		}
		at := slices.IndexFunc(pattern.Fields, func(f event.Field) bool { return f.Path == "account" })
		if at < 0 || !slices.Equal(pattern.Fields[at].Values, []string{account}) {
			return "", fmt.Errorf("the pattern of rule %s does not name the account %s alone", name, account)
		}
		pattern.Fields = slices.Delete(pattern.Fields, at, at+1)
		patterns[name] = json.RawMessage(pattern.String())
	}
	return fingerprint(patterns), nil
}

func fingerprint(patterns map[string]json.RawMessage) string {
	text, err := json.Marshal(patterns) // with sorted names
	if err != nil {
		panic(err) // patterns print as JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:12]
}
