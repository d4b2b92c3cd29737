package ratelimit_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/ratelimit"
)

func TestValidate(t *testing.T) {
	err := ratelimit.Config{
		Policies: []ratelimit.Policy{
			{Name: "a b", Mode: 9, Requests: -1, Period: -1, Burst: -1, Cost: -1, MaxKeys: -1, Key: ratelimit.Key{Header: "a b", Cookie: ";", IPv4Prefix: 33, IPv6Prefix: 64}},
			{Requests: 4_000_000_000},
			{Name: "default", Requests: 1, Burst: 1 << 40},
			{Name: "dear", Requests: 1, Cost: 2},
			{Name: "long", Requests: 1, Period: 367 * 24 * time.Hour},
		},
		Fields: 9, MaxWait: -1, Waiting: 1 << 20, StoreTimeout: time.Hour, OnStoreFailure: 9,
	}.Validate()
	require.Error(t, err)
	for _, want := range []string{
		`policies[0].name: "a b" is not a token`, "policies[0].mode: 9", "policies[0].requests: -1", "policies[0].period: -1ns",
		"policies[0].burst: -1", "policies[0].cost: -1", "policies[0].maxKeys: -1",
		"policies[0].key: at most one of", "policies[0].key: header: ", "policies[0].key: cookie: ", "policies[0].key: ipv4Prefix: 33", "policies[0].key: ipv6Prefix: needs source",
		"policies[1].requests: 4000000000 in 1s are 4 or more per nanosecond", `policies[2].name: "default" is there twice`,
		"policies[2].burst: 1099511627776 take longer", "policies[3].cost: 2 exceeds the burst of 1", "policies[4].period: 8808h0m0s",
		"fields: 9", "maxWait: -1ns", "waiting: 1048576", "storeTimeout: 1h0m0s", "onStoreFailure: 9",
	} {
		assert.Contains(t, err.Error(), want)
	}
	assert.Equal(t, 22+1, strings.Count(err.Error(), "\n")+1, err.Error())

	for want, c := range map[string]ratelimit.Config{
		"policies: 0 are not":           {},
		"policies: 17 are not":          {Policies: make([]ratelimit.Policy, 17)},
		"waiting: needs maxWait":        {Waiting: 1},
		"storeTimeout: needs a store":   {StoreTimeout: 1},
		"onStoreFailure: needs a store": {OnStoreFailure: ratelimit.FailOpen},
		"onStoreFailure: must be set":   {Store: &memory{}},
		"maxWait: excludes a store":     {Store: &memory{}, MaxWait: 1},
	} {
		assert.ErrorContains(t, c.Validate(), want)
		_, err := ratelimit.New(c)
		assert.ErrorContains(t, err, want)
	}
}

func TestEffective(t *testing.T) {
	c := ratelimit.Config{Policies: []ratelimit.Policy{{Requests: 5, Key: ratelimit.Key{Source: true}}}, MaxWait: time.Second, Store: &memory{}}
	e := c.Effective()
	assert.Equal(t, ratelimit.Policy{
		Name: "default", Requests: 5, Period: time.Second, Burst: 5, Cost: 1, MaxKeys: 65536,
		Key: ratelimit.Key{Source: true, IPv4Prefix: 32, IPv6Prefix: 64},
	}, e.Policies[0])
	assert.Equal(t, 128, e.Waiting)
	assert.Equal(t, 20*time.Millisecond, e.StoreTimeout)
	assert.Empty(t, c.Policies[0].Name, "the caller's is as it was")
}

func TestTexts(t *testing.T) {
	c := ratelimit.Config{Policies: []ratelimit.Policy{{Requests: 1}}}
	for _, c.Fields = range []ratelimit.Fields{ratelimit.RefusalFields, ratelimit.StandardFields, ratelimit.LegacyFields} {
		for _, c.OnStoreFailure = range []ratelimit.FailureMode{0, ratelimit.FailOpen, ratelimit.FailClosed, ratelimit.FailLocal} {
			b, err := json.Marshal(c)
			require.NoError(t, err)
			var got ratelimit.Config
			require.NoError(t, json.Unmarshal(b, &got))
			assert.Equal(t, c, got)
		}
	}
	assert.Error(t, json.Unmarshal([]byte(`{"fields":"all"}`), &c))
	assert.Error(t, json.Unmarshal([]byte(`{"onStoreFailure":"maybe"}`), &c))
}
