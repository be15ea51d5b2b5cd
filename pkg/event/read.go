package event

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/tidwall/gjson"
)

// Read yields the events in r: EventBridge envelopes or bare CloudTrail
// records, one, as JSON lines, in an array, or in a CloudTrail log file's
// {"Records": [...]}; gzipped or not. Memory does not grow with the input: no
// value may be longer than MaxSize, nor may a log file in which something else
// stands before Records, which CloudTrail never writes.
//
// A faulty event is yielded as an error and the rest is still read, as far as
// it can be told where the next one begins; a fault of the stream itself ends
// it. Errors say at which byte (of the unzipped input) the event began.
func Read(r io.Reader) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		in := bufio.NewReaderSize(r, 1<<16)
		if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
			z, err := gzip.NewReader(in)
			if err != nil {
				yield(nil, fmt.Errorf("gunzip: %w", err))
				return
			}
			defer func() { _ = z.Close() }() // it holds nothing, and read errors came before
			in = bufio.NewReaderSize(z, 1<<16)
		}
		s := splitter{in: in}
		if mark, _ := in.Peek(3); string(mark) == "\uFEFF" {
			s.discard(3) // some editors on Windows begin a file with a byte order mark
		}
		for {
			value, at, err := s.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				if !yield(nil, fmt.Errorf("at byte %d: %w", at, err)) || s.broken {
					return
				}
				continue
			}
			if !yieldValue(value, at, yield) {
				return
			}
		}
	}
}

// yieldValue decodes one value. A log file whose Records come after another
// field arrives here whole.
func yieldValue(value []byte, at int64, yield func(*Event, error) bool) bool {
	var records gjson.Result
	if bytes.Contains(value, []byte(`"Records"`)) {
		records = gjson.GetBytes(value, "Records")
	}
	if !records.IsArray() || tooDeep(value) || !gjson.ValidBytes(value) {
		e, err := DecodeAny(value)
		if err != nil {
			err = fmt.Errorf("at byte %d: %w", at, err)
		}
		return yield(e, err)
	}
	more := true
	records.ForEach(func(_, record gjson.Result) bool {
		e, err := DecodeAny([]byte(record.Raw))
		if err != nil {
			err = fmt.Errorf("in the value at byte %d: %w", at, err)
		}
		more = yield(e, err)
		return more
	})
	return more
}

// splitter cuts a stream into its top JSON values: those of a sequence, of a
// top array, however nested, or of the array that the field Records of a top
// object begins with. It looks at brackets and quotes alone and holds one value
// at a time.
type splitter struct {
	in      *bufio.Reader
	at      int64 // bytes read
	lists   int   // open lists, one in the other
	records bool  // the outermost list is the field Records of an object
	broken  bool  // the stream can't be read on
	value   []byte
}

// next returns the next value and where it began. The value is a copy.
func (s *splitter) next() ([]byte, int64, error) {
	for {
		c, err := s.readByte()
		if err != nil {
			return nil, s.at, s.end(err)
		}
		switch {
		case isSpace(c) || c == ',' && s.lists > 0:
		case c == '[':
			s.lists++
		case c == ']' && s.lists > 0:
			if err := s.closeList(); err != nil {
				return nil, s.at, err
			}
		case c == '{' && s.lists == 0 && s.startsRecords():
			s.lists, s.records = 1, true
		case c == '{':
			return s.object()
		default:
			begin := s.at - 1
			return nil, begin, s.skip(c)
		}
	}
}

// end is the error with which the input ends: io.EOF where it may.
func (s *splitter) end(err error) error {
	if !errors.Is(err, io.EOF) {
		s.broken = true
		return err
	}
	if s.lists > 0 {
		s.broken = true
		return errors.New("the input ends within a list")
	}
	return io.EOF
}

// startsRecords consumes `"Records": [` if that follows.
func (s *splitter) startsRecords() bool {
	const most = 64 // room for white space between the tokens
	head, _ := s.in.Peek(most)
	rest := head
	for _, token := range []string{`"Records"`, ":", "["} {
		var ok bool
		if rest, ok = bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(token)); !ok {
			return false
		}
	}
	s.discard(len(head) - len(rest))
	return true
}

// closeList ends a list and, if it was that of Records, skips what follows up
// to the end of its object.
func (s *splitter) closeList() error {
	s.lists--
	if s.lists > 0 || !s.records {
		return nil
	}
	s.records = false
	s.value = s.value[:0]
	if err := s.rest(']'); err != nil {
		return fmt.Errorf("after the Records: %w", err)
	}
	return nil
}

// object reads the object whose opening brace has been read.
func (s *splitter) object() ([]byte, int64, error) {
	begin := s.at - 1
	s.value = append(s.value[:0], '{')
	if err := s.rest('{'); err != nil {
		return nil, begin, err
	}
	return bytes.Clone(s.value), begin, nil
}

// rest reads on to the end of the object that has been read up to the byte
// last, appending to s.value. An object that is too large is read to its end
// but not kept.
func (s *splitter) rest(last byte) error {
	shape, tooLarge := shape{depth: 1, last: last}, false
	for shape.depth > 0 && !shape.damaged {
		chunk, err := s.in.Peek(max(s.in.Buffered(), 1))
		if err != nil {
			s.broken = true
			if errors.Is(err, io.EOF) {
				return errors.New("the input ends within a value")
			}
			return err
		}
		n := shape.follow(chunk)
		if tooLarge = tooLarge || len(s.value)+n > MaxSize; !tooLarge {
			s.value = append(s.value, chunk[:n]...)
		}
		s.discard(n)
	}
	switch {
	case shape.damaged:
		return &FieldError{"", "is cut off: what follows it can't be part of it"}
	case tooLarge:
		return &FieldError{"", fmt.Sprintf("is longer than %d bytes", MaxSize)}
	}
	return nil
}

// shape follows an object to its end.
type shape struct {
	quotes quotes
	depth  int
	last   byte // outside quotes and not white space
	// damaged is set where JSON never goes on like this, so that after a record
	// that was cut off the next is still found: an object that begins where no
	// value can, or a text that goes on over the end of a line.
	damaged bool
}

// follow returns how many bytes of chunk belong to the object.
func (s *shape) follow(chunk []byte) int {
	for i := 0; i < len(chunk); i++ {
		if i += s.quotes.plain(chunk[i:]); i == len(chunk) {
			break
		}
		switch c := chunk[i]; {
		case s.quotes.hold(c):
			if s.damaged = c == '\n'; s.damaged {
				return i
			}
		case isSpace(c):
			continue
		case c == '{' && s.last != ':' && s.last != ',' && s.last != '[':
			s.damaged = true
			return i
		case c == '{' || c == '[':
			s.depth++
		case c == '}' || c == ']':
			s.depth--
		}
		s.last = chunk[i]
		if s.depth == 0 {
			return i + 1
		}
	}
	return len(chunk)
}

// skip gives up on what begins with no object: on the line, or within a list
// on all up to the next object or list, or its own end.
func (s *splitter) skip(first byte) error {
	ends := "\n"
	if s.lists > 0 {
		ends = "{[]"
	}
	var q quotes
	for c, err := first, error(nil); err == nil; c, err = s.readByte() {
		quoted := q.hold(c) && s.lists > 0
		if c == '\n' {
			q = quotes{} // no text goes on over the end of a line
		}
		if !quoted && strings.IndexByte(ends, c) >= 0 {
			s.at--
			_ = s.in.UnreadByte() // the last call was a ReadByte that gave c
			break
		}
	}
	return fmt.Errorf("want a JSON object, found %q", first)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func (s *splitter) readByte() (byte, error) {
	c, err := s.in.ReadByte()
	if err == nil {
		s.at++
	}
	return c, err
}

// discard passes over bytes that are buffered.
func (s *splitter) discard(n int) {
	n, _ = s.in.Discard(n)
	s.at += int64(n)
}
