package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wholeCommand makes this binary the whole program, for a test to watch.
const wholeCommand = "whole"

// TestMain lets the test binary be what tail's own is: the program of every
// process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serverCommand {
		main()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == wholeCommand {
		os.Args = append(os.Args[:1], os.Args[2:]...)
		main()
		return
	}
	// The race detector has a process take its time to end; servers do not.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// program is a run of the whole program.
type program struct {
	*testing.T
	cmd    *exec.Cmd
	stdout io.Reader
	// alive ends when there is no process any more that has the other side,
	// which all inherit.
	alive *os.File
}

func newProgram(t *testing.T, args ...string) *program {
	self, err := os.Executable()
	require.NoError(t, err)
	alive, inherited, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = alive.Close() })
	p := &program{T: t, cmd: exec.Command(self, append([]string{wholeCommand}, args...)...), alive: alive}
	p.cmd.Stderr = inherited
	p.stdout, err = p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	require.NoError(t, inherited.Close())
	return p
}

// gone waits until no process is left, and returns what they had to complain of.
func (p *program) gone() string {
	p.Helper()
	require.NoError(p, p.alive.SetReadDeadline(time.Now().Add(30*time.Second)))
	complaints, err := io.ReadAll(p.alive)
	require.NoError(p, err, "a process is left")
	return string(complaints)
}

// TestRun: under each policy calls are made and answered, the picture is
// drawn, and no process is left.
func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tail.svg")
	p := newProgram(t, "-for", "300ms", "-rate", "100", "-callers", "8", "-servers", "4", "-svg", file)
	out, err := io.ReadAll(p.stdout)
	require.NoError(t, err)
	require.NoError(t, p.cmd.Wait(), "%s", out)
	require.Empty(t, p.gone())
	_, rows, found := strings.Cut(string(out), "p99.9")
	require.True(t, found, "%s", out)
	require.Regexp(t, `picks of load-fed: .*% token`, rows)
	drawn, err := os.ReadFile(file)
	require.NoError(t, err)
	texts := texts(t, drawn)
	for _, name := range policyNames() {
		require.Contains(t, rows, " "+name+"  ")
		require.Contains(t, texts, name)
	}
}

// TestInterrupt: no process is left behind, neither by who is tired of waiting
// nor by a program that has no time to clean up.
func TestInterrupt(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, os.Kill} {
		p := newProgram(t, "-for", "10m")
		lines := bufio.NewScanner(p.stdout)
		for lines.Scan() && !strings.HasSuffix(lines.Text(), "...") {
		}
		require.NoError(t, lines.Err())
		require.NoError(t, p.cmd.Process.Signal(sig))
		_, err := io.Copy(io.Discard, p.stdout)
		require.NoError(t, err)
		require.Error(t, p.cmd.Wait())
		complaints := p.gone()
		if sig == os.Interrupt {
			require.Contains(t, complaints, "context canceled")
		}
	}
}

func TestChoose(t *testing.T) {
	all, err := choose(strings.Join(policyNames(), ","))
	require.NoError(t, err)
	require.Equal(t, policies(), all)
	some, err := choose("peak EWMA, random")
	require.NoError(t, err)
	require.Len(t, some, 2)
	require.Equal(t, "peak EWMA", some[0].name)
	_, err = choose("random,nonesuch")
	require.ErrorContains(t, err, `no policy "nonesuch"`)
}

// TestFlags: what makes no sense is refused before anything begins, all of it.
func TestFlags(t *testing.T) {
	var out bytes.Buffer
	err := run([]string{"-servers", "3", "-callers", "0", "-rate", "1e9", "-for", "1h"}, &out)
	for _, name := range []string{"-servers", "-callers", "-rate", "-for"} {
		require.ErrorContains(t, err, name+": ")
	}
	require.ErrorContains(t, run([]string{"more"}, &out), "more")
	require.Empty(t, out.String())
}
