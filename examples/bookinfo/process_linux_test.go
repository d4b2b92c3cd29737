package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
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
