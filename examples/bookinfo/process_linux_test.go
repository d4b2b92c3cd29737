package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFleetStops: all processes are gone afterwards, a paused one as well.
func TestFleetStops(t *testing.T) {
	f := newFleet(t)
	require.NoError(t, f.processes[2].pause())
	f.stop()
	for _, p := range f.processes {
		require.False(t, p.running())
		// Waited for, so its number is free: this is not a zombie either.
		require.NotNil(t, p.cmd.ProcessState)
	}
}

// TestPauseIsAStandstill: when pause returns no thread runs any more, and a
// process that has ended cannot be paused.
func TestPauseIsAStandstill(t *testing.T) {
	p := newProcess(t, "ratings", "v1")
	for range 20 {
		require.NoError(t, p.pause())
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.pid()))
		require.NoError(t, err)
		require.Greater(t, len(threads), 1)
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			require.NoError(t, err)
			_, state, found := strings.Cut(string(stat), ") ")
			require.True(t, found)
			require.Equal(t, "T", state[:1])
		}
		require.NoError(t, p.resume())
		require.Equal(t, http.StatusOK, status(t, p))
	}
	p.kill()
	require.Error(t, p.pause())
	require.ErrorIs(t, untilStopped(p.pid()), syscall.ECHILD)
}

// TestNobodyOutlivesTheParent kills a parent that has no time to clean up,
// while one of its processes is paused.
func TestNobodyOutlivesTheParent(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	// Every process inherits the writing end, so reading ends with the last.
	alive, inherited, err := os.Pipe()
	require.NoError(t, err)
	defer alive.Close()
	cmd := exec.Command(self, parentCommand)
	cmd.Stderr = inherited
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, inherited.Close())

	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err, line)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())

	require.NoError(t, alive.SetReadDeadline(time.Now().Add(30*time.Second)))
	_, err = io.Copy(io.Discard, alive)
	require.NoError(t, err, "a process is left")
}
