package iampolicy

import (
	"strings"
	"unicode/utf8"
)

// A pattern is text with the wildcards * (any characters, or none) and ? (one
// character). A * crosses colons, as in the resources of IAM. These bytes,
// which no UTF-8 text has, stand in a pattern for the characters themselves: a
// star of a variable's value, or ${*}.
const (
	literalStar = 0xF8
	literalOne  = 0xF9
	// nameStar is a * that does not cross colons. Only what is asked for has it, and
	// no policy.
	nameStar = 0xFA
)

// match tells whether a text is one of those that a pattern stands for; fold
// ignores the case of ASCII letters. It takes at most len(pattern) * len(text)
// steps: only the last star is ever tried again.
func match(pattern, text string, fold bool) bool { return glob(pattern, text, fold, true) }

// covers tells whether each text that pattern b stands for is one of pattern a's.
// It never says so if it is not; but of two that differ only in the order of * and
// ? side by side, or in how many characters a * of b must have at least, it does
// not say it.
func covers(a, b string, fold bool) bool { return glob(a, b, fold, false) }

// glob matches a pattern with what is a plain text, or else another pattern, whose
// wildcards only the like of them stand for.
func glob(pattern, text string, fold, plain bool) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(text) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && stands(pattern[i], text[j], fold, plain):
			j += width(pattern[i], text[j:])
			i++
		case star >= 0:
			mark += width('?', text[mark:])
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// width is how many bytes of a text one character of a pattern takes.
func width(p byte, text string) int {
	if p != '?' || text[0] < utf8.RuneSelf {
		return 1
	}
	_, size := utf8.DecodeRuneInString(text)
	return size
}

// stands tells whether a byte of a pattern stands for one of a text.
func stands(p, t byte, fold, plain bool) bool {
	if !plain && (t == '*' || t == nameStar) {
		return false
	}
	if p == '?' {
		return true
	}
	if !plain && t == '?' {
		return false
	}
	if plain {
		p = unescaped(p)
	}
	return same(p, t, fold)
}

func same(a, b byte, fold bool) bool {
	return a == b || fold && lower(rune(a)) == lower(rune(b))
}

func unescaped(b byte) byte {
	switch b {
	case literalStar:
		return '*'
	case literalOne:
		return '?'
	}
	return b
}

func lower(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

// literal is a text as a pattern that stands for nothing but it.
func literal(text string) string {
	if !wild(text) {
		return text
	}
	return strings.NewReplacer("*", string([]byte{literalStar}), "?", string([]byte{literalOne})).Replace(text)
}

func wild(pattern string) bool { return strings.ContainsAny(pattern, "*?") }

func isWild(b byte) bool { return b == '*' || b == '?' || b == nameStar }

// overlap tells whether there is a text that both patterns stand for, in at most
// len(a) * len(b) steps.
func overlap(a, b string, fold bool) bool {
	start := shared(a, b, fold)
	if start < min(len(a), len(b)) && !isWild(a[start]) && !isWild(b[start]) {
		return false
	}
	x, y := tokens(a[start:], fold), tokens(b[start:], fold)
	// common[j] is whether what was looked at of x and the first j of y have a text
	// in common.
	common := make([]bool, len(y)+1)
	common[0] = true
	for j, q := range y {
		common[j+1] = common[j] && isRun(q)
	}
	for _, p := range x {
		before := common[0]
		common[0] = before && isRun(p)
		for j, q := range y {
			above := common[j+1]
			common[j+1] = above && passes(q, p) || common[j] && passes(p, q) || before && meets(p, q)
			before = above
		}
	}
	return common[len(y)]
}

// shared is how many bytes two patterns begin alike with, before any wildcard.
func shared(a, b string, fold bool) int {
	n := 0
	for n < len(a) && n < len(b) && !isWild(a[n]) && !isWild(b[n]) && same(a[n], b[n], fold) {
		n++
	}
	return n
}

// The wildcards among the characters of a pattern.
const (
	anyRun rune = -1 - iota
	nameRun
	anyOne
)

func isRun(r rune) bool { return r == anyRun || r == nameRun }

// passes tells whether one of two characters can be left behind while the other
// stays: it is a run that may be empty, or the other is a run that may have it in it.
func passes(other, r rune) bool {
	return isRun(r) || other == anyRun || other == nameRun && r != ':'
}

// meets tells whether two characters that are no runs may be the same.
func meets(p, q rune) bool {
	return !isRun(p) && !isRun(q) && (p == q || p == anyOne || q == anyOne)
}

func tokens(pattern string, fold bool) []rune {
	all := make([]rune, 0, len(pattern))
	for len(pattern) > 0 {
		r, size := utf8.DecodeRuneInString(pattern)
		switch b := pattern[0]; {
		case b == '*':
			r = anyRun
		case b == nameStar:
			r = nameRun
		case b == '?':
			r = anyOne
		case size == 1:
			r = rune(unescaped(b))
		}
		if fold {
			r = lower(r)
		}
		all = append(all, r)
		pattern = pattern[size:]
	}
	return all
}
