package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
)

func TestStateOf(t *testing.T) {
	now := time.Now()
	require.Equal(t, "available", stateOf(tulle.EndpointState{Available: true}, now))
	require.Equal(t, "ejected: it fails, tried in 2.5s; leaving: it said so", stateOf(tulle.EndpointState{Holds: []tulle.HoldState{
		{Hold: endpoint.Ejected, Reason: "it fails", Due: now.Add(2405 * time.Millisecond)},
		{Hold: endpoint.Leaving, Reason: "it said so", Due: now.Add(-time.Second)},
	}}, now))
}
