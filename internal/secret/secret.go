// Package secret tells by their names which values are likely to be secrets,
// so that all that shows requests or configuration keeps the same silence.
package secret

import "strings"

// Name reports whether what is called so is likely to be a secret. It rather
// hides too much: those who look need not know anyone's keys.
func Name(name string) bool {
	name = strings.ToLower(name)
	for _, part := range parts {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

var parts = [...]string{"auth", "bearer", "cookie", "credential", "jwt", "key", "pass", "secret", "session", "sig", "token"}
