package main

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOutput runs the program and reads what it prints: every call has an
// answer, and after the second server stopped none is from it.
func TestOutput(t *testing.T) {
	lines := printed(t, main)
	require.Len(t, lines, 21)
	require.Equal(t, "-- server 2 stops", lines[10])

	before, after := map[string]int{}, map[string]int{}
	for i, line := range append(lines[:10:10], lines[11:]...) {
		fields := strings.Fields(line)
		require.Len(t, fields, 6, line)
		require.True(t, strings.HasPrefix(fields[0], "http://reviews/products/"), line)
		require.Equal(t, "200", fields[1], line)
		if i < 10 {
			before[fields[5]]++
		} else {
			after[fields[5]]++
		}
	}
	for server := range before {
		require.Contains(t, []string{"1", "2", "3"}, server)
	}
	require.NotContains(t, after, "2")
	require.Equal(t, 10, after["1"]+after["3"])
}

// printed returns the lines that f writes to standard output.
func printed(t *testing.T, f func()) []string {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()

	// What the program prints fits the pipe, so nobody need read meanwhile.
	f()
	require.NoError(t, w.Close())
	var lines []string
	for scanner := bufio.NewScanner(r); scanner.Scan(); {
		lines = append(lines, scanner.Text())
	}
	return lines
}
