//go:build linux

package otel_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long something may take that normally takes moments.
const patience = time.Minute

// eventually waits until what holds holds.
func eventually(t *testing.T, holds func() bool, what string) {
	t.Helper()
	require.Eventually(t, holds, patience, 50*time.Millisecond, what)
}

// program returns the path of a command. Where it is missing the test fails
// if CI is set, and else says so and has nothing to do.
func program(t *testing.T, name, pkg string) (path string, ok bool) {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path, true
	case os.Getenv("CI") != "":
		t.Fatalf("%s is missing: install the Debian package %s", name, pkg)
	default:
		t.Logf("NOT TESTED: %s is missing: install the Debian package %s", name, pkg)
	}
	return "", false
}

// build returns the path of a command of this module.
func build(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./"+name).CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// start runs a command until the test ends and returns its standard output.
func start(t *testing.T, cmd *exec.Cmd) *bufio.Reader {
	t.Helper()
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(cmd.Path), log.String())
		}
	})
	return bufio.NewReader(out)
}

// freeAddr returns an address of loopback that nobody listens at now.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

// answering returns the address of a server that answers with a status.
func answering(t *testing.T, status int) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// app is a running program that calls through a mesh.
type app struct {
	*testing.T
	addr string
}

// startApp starts a program with one bad endpoint among three of reviews, and
// ratings that is bad altogether.
func startApp(t *testing.T, collector string) app {
	t.Helper()
	out := start(t, exec.Command(build(t, "app"), "-collector", collector, "-ratings", answering(t, 503), "-next", answering(t, 200),
		"-reviews", strings.Join([]string{answering(t, 200), answering(t, 200), answering(t, 503)}, ",")))
	addr, err := out.ReadString('\n')
	require.NoError(t, err)
	return app{t, strings.TrimSpace(addr)}
}

// call makes n calls to u and returns what came of them, a line for each.
func (a app) call(u string, n int) []string {
	a.Helper()
	return strings.Split(strings.TrimSpace(fetch(a.T, fmt.Sprintf("http://%s/call?n=%d&url=%s", a.addr, n, url.QueryEscape(u)))), "\n")
}

// callAll makes calls that leave something in every metric.
func (a app) callAll() {
	a.Helper()
	a.call("http://reviews/a?token=geheim", 100)
	a.call("http://ratings/", 10)
	a.call("http://broken/", 2)
	a.call("http://gone/", 2)
	resp, err := http.Get("http://" + a.addr + "/closed")
	require.NoError(a, err)
	resp.Body.Close()
	require.Equal(a, http.StatusUnauthorized, resp.StatusCode)
}

func fetch(t *testing.T, u string) string {
	t.Helper()
	resp, err := http.Get(u)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, string(b))
	return string(b)
}

// documented returns the metrics that package telemetry documents, each with
// its kind.
func documented(t *testing.T) map[string]string {
	t.Helper()
	doc, err := os.ReadFile("../../../telemetry/doc.go")
	require.NoError(t, err)
	kinds := map[string]string{}
	for line := range strings.Lines(string(doc)) {
		fields := strings.Fields(strings.TrimPrefix(line, "//"))
		if len(fields) < 3 || !strings.Contains(fields[0], ".") || !strings.HasPrefix(line, "//\t") {
			continue
		}
		if kinds[fields[0]] = fields[1]; fields[1] == "s" {
			kinds[fields[0]] = "histogram"
		}
	}
	delete(kinds, "http.response.status_code,")
	for name := range kinds {
		if strings.HasSuffix(name, ",") {
			delete(kinds, name)
		}
	}
	require.Greater(t, len(kinds), 15)
	return kinds
}
