package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// texts returns what is written in a picture, which must be well-formed.
func texts(t *testing.T, drawn []byte) []string {
	t.Helper()
	var found []string
	in := xml.NewDecoder(bytes.NewReader(drawn))
	for within := ""; ; {
		token, err := in.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			within = token.Name.Local
		case xml.EndElement:
			within = ""
		case xml.CharData:
			if within == "text" {
				found = append(found, string(token))
			}
		}
	}
}

func TestPicture(t *testing.T) {
	results := []result{
		{policy: policy{name: "a < b & c", note: "< d"}, calls: 4, failed: 1, took: []time.Duration{20e6, 30e6, 900e6}},
		{policy: policy{name: "nothing", own: true}, calls: 1, expired: 1},
	}
	l := load{servers: 4, callers: 5, rate: 60, length: 10 * time.Second}
	drawn := picture(results, l, l.troubles(), []string{"-rate", "60"})
	words := texts(t, drawn)
	for _, want := range []string{"a < b & c", "< d", "30 ms", "900 ms", "25.0 %", "nothing", "–", "100.0 %", "20 ms", "1 s"} {
		require.Contains(t, words, want)
	}
	require.Contains(t, strings.Join(words, "\n"), "5 callers that know nothing of each other, 4 servers")
	require.Contains(t, strings.Join(words, "\n"), "go run ./examples/tail -rate 60")
	require.NotContains(t, words, "5 s", "the scale ends where the results do")
	require.Equal(t, 1, strings.Count(string(drawn), `class="band"`))
	require.NotContains(t, string(drawn), "NaN")
	texts(t, picture(nil, l, nil, nil))
}

// TestPictureInDocs: the one that is shown is of the policies that there are.
func TestPictureInDocs(t *testing.T) {
	drawn, err := os.ReadFile("../../docs/tail.svg")
	require.NoError(t, err)
	shown := texts(t, drawn)
	for _, name := range policyNames() {
		require.Contains(t, shown, name)
	}
}

func TestScale(t *testing.T) {
	s := newScale([]result{{took: []time.Duration{23 * time.Millisecond, 23 * time.Millisecond, 1100 * time.Millisecond}}})
	require.Equal(t, 20*time.Millisecond, s.ticks[0])
	require.Equal(t, 2*time.Second, s.ticks[len(s.ticks)-1])
	require.InDelta(t, plotLeft, s.x(20*time.Millisecond), 1e-9)
	require.InDelta(t, plotRight, s.x(2*time.Second), 1e-9)
	require.InDelta(t, (plotLeft+plotRight)/2, s.x(200*time.Millisecond), 1e-9)
	require.InDelta(t, plotLeft, s.x(0), 1e-9)
	require.InDelta(t, plotRight, s.x(time.Hour), 1e-9)
}
