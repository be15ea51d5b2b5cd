package deployment

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/snapback-aws/snapback/pkg/control"
)

// Fingerprint tells forwarding rules from others by their names and patterns:
// the first 12 hexadecimal digits of a SHA-256.
func Fingerprint(rules []control.Rule) string {
	patterns := map[string]any{}
	for _, r := range rules {
		var pattern any
		if err := json.Unmarshal([]byte(r.Pattern.String()), &pattern); err != nil {
			panic(err) // a pattern prints as JSON
		}
		patterns[Rule(r.Name)] = pattern
	}
	return fingerprint(patterns)
}

// FingerprintOf is the fingerprint of rules as EventBridge has them in an account:
// their patterns by name, with the account that each names. An error says which
// pattern can't be one of ours.
func FingerprintOf(account string, deployed map[string]string) (string, error) {
	patterns := map[string]any{}
	for name, text := range deployed {
		var pattern map[string]any
		if err := json.Unmarshal([]byte(text), &pattern); err != nil {
			return "", fmt.Errorf("the pattern of rule %s: %w", name, err)
		}
		if !reflect.DeepEqual(pattern["account"], []any{account}) {
			return "", fmt.Errorf("the pattern of rule %s does not name the account %s alone", name, account)
		}
		delete(pattern, "account")
		patterns[name] = pattern
	}
	return fingerprint(patterns), nil
}

func fingerprint(patterns map[string]any) string {
	text, err := json.Marshal(patterns) // with sorted names
	if err != nil {
		panic(err) // it was JSON before
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:12]
}
