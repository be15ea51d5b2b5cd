package local

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Ruler is EventBridge's own rule engine (AWS's event-ruler), the oracle for
// our matcher of event patterns.
type Ruler struct {
	process *process

	mu        sync.Mutex
	questions *os.File
	answers   *bufio.Reader
	answersIn *os.File
}

// StartRuler starts the rule engine. It ends on Close or with ctx.
func StartRuler(ctx context.Context) (_ *Ruler, err error) {
	jars, err := tool("test-tools", "java")
	if err != nil {
		return nil, err
	}
	var pipes [4]*os.File
	for i := range 2 {
		if pipes[2*i], pipes[2*i+1], err = os.Pipe(); err != nil {
			return nil, fmt.Errorf("start the rule engine: %w", err)
		}
	}
	cmd := java(jars, filepath.Join(Root(), "internal", "local", "java", "Oracle.java"))
	cmd.Stdin, cmd.Stdout = pipes[0], pipes[3]
	p, err := start(ctx, "event-ruler", cmd)
	// The program has its own copies of its ends.
	err = errors.Join(err, pipes[0].Close(), pipes[3].Close())
	if err != nil {
		return nil, errors.Join(err, pipes[1].Close(), pipes[2].Close())
	}
	return &Ruler{process: p, questions: pipes[1], answers: bufio.NewReader(pipes[2]), answersIn: pipes[2]}, nil
}

// Match reports whether EventBridge would match an event with a pattern, both
// as JSON. An error says that the engine refused one of them, or has ended.
func (r *Ruler) Match(pattern, event string) (bool, error) {
	question, err := json.Marshal(map[string]string{"pattern": pattern, "event": event})
	if err != nil {
		return false, fmt.Errorf("ask event-ruler: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.questions.Write(append(question, '\n')); err != nil {
		return false, fmt.Errorf("ask event-ruler: %w; it printed:\n%s", err, r.process.tail())
	}
	line, err := r.answers.ReadBytes('\n')
	if err != nil {
		return false, fmt.Errorf("ask event-ruler: %w; it printed:\n%s", err, r.process.tail())
	}
	var answer struct {
		Match bool
		Error string
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return false, fmt.Errorf("read event-ruler's answer %.200q: %w", line, err)
	}
	if answer.Error != "" {
		return false, fmt.Errorf("event-ruler: %s", answer.Error)
	}
	return answer.Match, nil
}

// Close ends the engine.
func (r *Ruler) Close() {
	r.process.close()
	_ = r.questions.Close() // no one reads it any more
	_ = r.answersIn.Close() // it was only read
}
