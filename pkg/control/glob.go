package control

import "strings"

// MatchGlob matches all of s with a glob, in which * stands for any characters and
// ? for any one byte. It looks back to the last * only, so it takes at most
// len(glob) x len(s) steps.
func MatchGlob(glob, s string) bool {
	g, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case g < len(glob) && glob[g] == '*':
			star, mark = g, i
			g++
		case g < len(glob) && (glob[g] == '?' || glob[g] == s[i]):
			g, i = g+1, i+1
		case star >= 0:
			mark++
			g, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(glob[g:], "*") == ""
}
