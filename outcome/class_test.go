package outcome_test

import (
	"encoding"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/outcome"
)

func TestClassFailed(t *testing.T) {
	want := map[outcome.Class]bool{
		outcome.Neutral: false, outcome.Success: false, outcome.Overload: false,
		outcome.ServerError: true, outcome.Gateway: true, outcome.Connect: true, outcome.Reset: true, outcome.Timeout: true,
		outcome.Timeout + 1: false,
	}
	for c, failed := range want {
		if c.Failed() != failed {
			t.Errorf("%v failed: %v", c, !failed)
		}
	}
}

type word interface {
	encoding.TextMarshaler
	String() string
}

func TestWords(t *testing.T) {
	for _, words := range [][]word{
		{
			outcome.Neutral, outcome.Success, outcome.Overload, outcome.ServerError, outcome.Gateway, outcome.Connect,
			outcome.Reset, outcome.Timeout, outcome.Class(99),
		},
		{outcome.Enforce, outcome.Observe},
	} {
		seen := map[string]bool{}
		for _, w := range words {
			text, err := w.MarshalText()
			if err != nil || string(text) != w.String() || !labelled(w.String()) || seen[w.String()] {
				t.Errorf("%T: %q, %v", w, text, err)
			}
			seen[w.String()] = true
		}
	}
	if outcome.Class(99).String() != "unknown" {
		t.Error(outcome.Class(99))
	}
}

// labelled reports whether s is fit for the value of a metric label.
func labelled(s string) bool {
	for _, c := range s {
		if c != '_' && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != ""
}

// What is written as text is read back, and nothing else is.
func TestTextRoundTrips(t *testing.T) {
	for c := outcome.Neutral; c <= outcome.Timeout; c++ {
		text, err := c.MarshalText()
		require.NoError(t, err)
		var got outcome.Class
		require.NoError(t, got.UnmarshalText(text))
		require.Equal(t, c, got)
	}
	for _, m := range []outcome.Mode{outcome.Enforce, outcome.Observe} {
		text, err := m.MarshalText()
		require.NoError(t, err)
		var got outcome.Mode
		require.NoError(t, got.UnmarshalText(text))
		require.Equal(t, m, got)
	}
	for _, r := range append(outcome.Reasons(), outcome.NoReason) {
		text, err := r.MarshalText()
		require.NoError(t, err)
		got := outcome.Reason(250)
		require.NoError(t, got.UnmarshalText(text))
		require.Equal(t, r, got)
	}
	var c outcome.Class
	var m outcome.Mode
	var r outcome.Reason
	require.Error(t, r.UnmarshalText([]byte("x")))
	require.Error(t, r.UnmarshalText(nil))
	require.Error(t, c.UnmarshalText([]byte("x")))
	require.Error(t, m.UnmarshalText([]byte("x")))
}
