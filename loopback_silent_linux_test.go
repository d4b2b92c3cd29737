package tulle_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

// childVariable makes the process of a test the endpoint of another.
const childVariable = "TULLE_TEST_ENDPOINT"

// idHeader numbers a request; echo answers with the number.
const idHeader = "X-Id"

func echo(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, r.Header.Get(idHeader))
}

// serveChild is the other process: an endpoint that says on its standard output
// where it is, and ends with its standard input.
func serveChild(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(echo), Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = srv.Serve(l) }()
	fmt.Println(l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	require.NoError(t, srv.Close())
}

// startChild runs this binary again as an endpoint. It ends with the test, even
// if this process is killed while the child is stopped.
func startChild(t *testing.T) (addr string, signal func(syscall.Signal)) {
	t.Helper()
	// The kernel takes the thread that starts the child for its parent.
	runtime.LockOSThread()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()[:strings.IndexByte(t.Name()+"/", '/')]+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), childVariable+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		runtime.UnlockOSThread()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line), func(sig syscall.Signal) { require.NoError(t, cmd.Process.Signal(sig)) }
}

// A process that is stopped accepts connections and says nothing. Under load
// attempts at it end with their own time and are made elsewhere, so that every
// caller gets its answer; when the process goes on, what it says too late to
// anybody reaches nobody, and it gets calls again.
func TestSilentProcess(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		serveChild(t)
		return
	}
	const perTry = time.Second
	for name, row := range map[string]struct {
		protocol tulle.Protocol
		attempts int
	}{
		"HTTP/1.1":              {tulle.HTTP1, 2},
		"h2c":                   {tulle.H2C, 2},
		"without a retry":       {tulle.HTTP1, 1},
		"without a retry (h2c)": {tulle.H2C, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			child, signal := startChild(t)
			var other string
			if row.protocol == tulle.H2C {
				_, other = h2cServer(t, echo)
			} else {
				other = server(t, echo)
			}
			c := one(child, other)
			c.Services[0].Protocol = row.protocol
			// Turns give the silent one its share however much it has in flight.
			c.Services[0].Balancer = balancer.RoundRobin{}
			c.Policies.Retry = &retry.Policy{Attempts: row.attempts, PerTry: perTry, Budget: retry.BudgetPolicy{Ratio: -1}}
			m := s.mesh(c)
			require.NoError(t, m.Ready(t.Context()))

			var wg sync.WaitGroup
			var ids atomic.Int64
			var mu sync.Mutex
			var errs []error
			enough := make(chan struct{})
			stop := sync.OnceFunc(func() { close(enough); wg.Wait() })
			defer stop()
			for range 8 {
				wg.Go(func() {
					for {
						select {
						case <-enough:
							return
						default:
						}
						if err := askEcho(t, m, strconv.FormatInt(ids.Add(1), 10)); err != nil {
							mu.Lock()
							errs = append(errs, err)
							mu.Unlock()
						}
					}
				})
			}
			answered := func() uint64 { return endpointAt(t, service(t, m, "reviews"), child).OK }
			until(t, "the child has answered", func() bool { return answered() >= 50 })
			signal(syscall.SIGSTOP)
			until(t, "attempts are cut off", func() bool { return s.cut.Load() >= 8 })
			signal(syscall.SIGCONT)
			before := answered()
			until(t, "the child answers again", func() bool { return answered() >= before+50 })
			stop()

			s.idle(m)
			if row.attempts > 1 {
				assert.Empty(t, errs)
				return
			}
			require.NotEmpty(t, errs, "callers do notice")
			for _, err := range errs {
				assert.Equal(t, outcome.AttemptTimeout, asError(t, err).Reason)
			}
		})
	}
}

// askEcho makes a call of which nobody else's answer is right.
func askEcho(t *testing.T, m *tulle.Mesh, id string) error {
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://reviews/", nil)
	if err != nil {
		return err
	}
	req.Header.Set(idHeader, id)
	a, err := read(m.Transport().RoundTrip(req))
	if err == nil && (a.status != 200 || a.body != id) {
		err = fmt.Errorf("request %s got status %d, %q", id, a.status, a.body)
	}
	return err
}
