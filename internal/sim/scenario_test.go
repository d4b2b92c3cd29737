package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/overload"
)

func TestFaultsOfAScenario(t *testing.T) {
	s := Scenario{
		Loss: 2, Load: 1, Rate: 1,
		Servers: []Server{{Joins: 1}, {Joins: 1, Guard: &overload.Policy{MaxInFlight: -1}}},
		Chooser: Balanced{Policy: balancer.PeakEWMA{Decay: 1}},
	}
	err := s.validate()
	for _, part := range []string{"join later", "excludes load", "loss: 2", "decay", "servers[1].guard: maxInFlight"} {
		require.ErrorContains(t, err, part)
	}
	s = Scenario{Chooser: Balanced{}}
	for _, part := range []string{"servers: there are none", "load: there is none", "no policy"} {
		require.ErrorContains(t, s.validate(), part)
	}
	require.ErrorContains(t, (&Scenario{}).validate(), "chooser: there is none")
	s = Scenario{Servers: Servers(1, Server{}), Load: .5, Chooser: Central{}}
	require.NoError(t, s.validate())
}
