package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Proxy stands between Snapback and the local AWS and disturbs the calls that a
// test names. All others pass as they are.
//
// It sees every attempt, those too that only net/http makes: where a connection
// that was used before breaks off, it sends a GET again that the SDK counts
// once.
type Proxy struct {
	endpoint string
	server   *http.Server
	forward  *httputil.ReverseProxy
	unhook   func() bool

	mu                    sync.Mutex
	faults                []*injected
	calls                 []string
	answers               map[string]Answer // the last one of AWS, by question
	conflicts, conditions int
}

// injected is a fault that waits for its call.
type injected struct {
	call string
	from int // the first arrival that is disturbed
	seen int // arrivals so far
	Fault
}

// StartProxy starts a proxy to a, with the calls of DynamoDB going to db if
// that is given. It ends on Close or with ctx.
func StartProxy(ctx context.Context, a *AWS, db *DynamoDB) (*Proxy, error) {
	target, err := url.Parse(a.Endpoint())
	if err != nil {
		return nil, fmt.Errorf("start the proxy: %w", err)
	}
	tables := target
	if db != nil {
		if tables, err = url.Parse(db.Endpoint()); err != nil {
			return nil, fmt.Errorf("start the proxy: %w", err)
		}
	}
	p := &Proxy{answers: map[string]Answer{}}
	p.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			if serviceOf(r.In) == "DynamoDB" {
				r.SetURL(tables)
			} else {
				r.SetURL(target)
			}
			// It is signed, and moto reads S3 Control's account from it.
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "the local AWS does not answer: "+err.Error(), http.StatusBadGateway)
		},
	}
	p.server = &http.Server{Handler: p}
	if p.endpoint, err = serve(ctx, p.server); err != nil {
		return nil, fmt.Errorf("start the proxy: %w", err)
	}
	p.unhook = context.AfterFunc(ctx, p.Close)
	return p, nil
}

// serve lets a server answer on a loopback address of its own, and returns that
// as a URL.
func serve(ctx context.Context, s *http.Server) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = s.Serve(l) }() // until it is closed
	return "http://" + l.Addr().String(), nil
}

// Endpoint is the URL for AWS_ENDPOINT_URL.
func (p *Proxy) Endpoint() string { return p.endpoint }

// Close ends the proxy; calls under way break off.
func (p *Proxy) Close() {
	if p.unhook != nil {
		p.unhook()
	}
	_ = p.server.Close() // nothing is written down
}

// Inject disturbs a call, "S3.PutPublicAccessBlock", from its nth attempt on,
// with 1 for the next one. Of two faults for one attempt the first injected
// acts; both count the attempt.
func (p *Proxy) Inject(call string, nth int, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, &injected{call: call, from: nth, Fault: f})
}

// Clear takes all faults out and forgets all calls and answers.
func (p *Proxy) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults, p.calls, p.conflicts, p.conditions = nil, nil, 0, 0
	clear(p.answers)
}

// Calls are the names of all calls in the order in which they arrived, each
// attempt for itself. They are named as package cloud records them.
func (p *Proxy) Calls() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// Count is how often a call has arrived.
func (p *Proxy) Count(call string) (n int) {
	for _, c := range p.Calls() {
		if c == call {
			n++
		}
	}
	return n
}

// Cancelled counts the answers that DynamoDB has cancelled a transaction:
// because it met another one, and because a condition did not hold. One for both
// reasons is counted in both. DynamoDB Local and moto know the second alone; see
// Conflict for the first.
func (p *Proxy) Cancelled() (conflicts, conditions int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conflicts, p.conditions
}

// ServeHTTP takes a call.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the caller has gone before it had asked
	}
	x := &Exchange{Call: callOf(r, body), proxy: p, w: w, r: r, body: body}
	if f := p.arrived(x.Call); f != nil {
		f.Disturb(x)
		return
	}
	x.Answer(x.Forward())
}

// arrived writes a call down and returns the fault that it meets.
func (p *Proxy) arrived(call string) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, call)
	var fault *Fault
	for _, i := range p.faults {
		if i.call != call {
			continue
		}
		i.seen++
		if ended := i.Times >= 0 && i.seen >= i.from+i.Times; fault == nil && i.seen >= i.from && !ended {
			fault = &i.Fault
		}
	}
	return fault
}

// count counts an answer that cancels a transaction.
func (p *Proxy) count(a Answer) {
	var cancelled struct {
		Type                string `json:"__type"`
		CancellationReasons []struct{ Code string }
	}
	// What is not JSON, or of another form, cancels nothing.
	if a.Status != http.StatusBadRequest || json.Unmarshal(a.Body, &cancelled) != nil ||
		!strings.HasSuffix(cancelled.Type, "#TransactionCanceledException") {
		return
	}
	has := map[string]int{}
	for _, r := range cancelled.CancellationReasons {
		has[r.Code] = 1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conflicts += has["TransactionConflict"]
	p.conditions += has["ConditionalCheckFailed"]
}

// Exchange is one attempt of a call on its way through the proxy.
type Exchange struct {
	Call string

	proxy *Proxy
	w     http.ResponseWriter
	r     *http.Request
	body  []byte
}

// Answer is what a service answers.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Forward has AWS carry the call out, whether or not the caller still waits.
// The caller is told nothing.
func (x *Exchange) Forward() Answer {
	r := x.r.Clone(context.WithoutCancel(x.r.Context()))
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(x.body)), int64(len(x.body)), nil
	var b buffer
	x.proxy.forward.ServeHTTP(&b, r)
	a := Answer{Status: b.status, Header: b.header, Body: b.body.Bytes()}
	x.proxy.mu.Lock()
	defer x.proxy.mu.Unlock()
	x.proxy.answers[x.question()] = a
	return a
}

// Answer gives the caller an answer.
func (x *Exchange) Answer(a Answer) {
	x.proxy.count(a)
	for name, values := range a.Header {
		x.w.Header()[name] = values
	}
	x.w.WriteHeader(a.Status)
	_, _ = x.w.Write(a.Body) // a caller that is gone needs none
}

// Hold keeps the caller waiting until it gives up.
func (x *Exchange) Hold() {
	<-x.r.Context().Done()
	panic(http.ErrAbortHandler)
}

// Reset breaks the connection off, without an answer.
func (x *Exchange) Reset() {
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // it is broken off already
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.SetLinger(0) // a reset, not an orderly end
	}
	_ = errors.Join(err, conn.Close()) // either way the caller gets no answer
}

// question is the same for every attempt to ask the same.
func (x *Exchange) question() string {
	return strings.Join([]string{x.Call, x.r.Method, x.r.Host, x.r.RequestURI, string(x.body)}, "\n")
}

// buffer keeps an answer back.
type buffer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (b *buffer) Header() http.Header {
	if b.header == nil {
		b.header = http.Header{}
	}
	return b.header
}

func (b *buffer) WriteHeader(status int) {
	if status >= http.StatusOK { // else it says that the answer will come
		b.status = status
	}
}

func (b *buffer) Write(data []byte) (int, error) { return b.body.Write(data) }
