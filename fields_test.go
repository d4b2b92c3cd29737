package tulle_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
)

// proofs names for every field of a Config, wherever in it, a test that fails
// if the field is ignored, as package directory and function.
var proofs = [...]struct{ field, proof string }{
	{"authn.Issuer.Algorithms", "authn:TestKeyChoice"},
	{"authn.Issuer.Audiences", "authn:TestIssuersAreApart"},
	{"authn.Issuer.Issuer", "authn:TestIssuersAreApart"},
	{"authn.Issuer.JWKS", ".:TestInboundAnonymous"},
	{"authn.Issuer.JWKSURL", "authn:TestWhereKeySetsAreFetched"},
	{"authn.Issuer.MaxLifetime", ".:TestInboundTokensAndTime"},
	{"authn.Issuer.PlainHTTP", "authn:TestPlainHTTPStaysHere"},
	{"authn.Issuer.Transport", ".:TestInboundKeysAreFetchedWhileNeeded"},
	{"authn.Issuer.Types", "authn:TestTypes"},
	{"authn.Policy.CacheBytes", ".:TestInboundTokensAreRemembered"},
	{"authn.Policy.CacheEntries", ".:TestInboundTokensAreRemembered"},
	{"authn.Policy.ClaimHeaders", ".:TestInboundClaimedFieldsAreOurs"},
	{"authn.Policy.Header", "authn:TestOtherHeader"},
	{"authn.Policy.Issuers", ".:TestInboundAnonymous"},
	{"authn.Policy.MaxToken", "authn:TestLimits"},
	{"authn.Policy.Mode", ".:TestInboundObserved"},
	{"authn.Policy.Realm", ".:TestInboundChallenges"},
	{"authn.Policy.Scopes", ".:TestInboundChallenges"},
	{"authn.Policy.Skew", ".:TestInboundTokensAndTime"},
	{"authn.Policy.Strip", "authn:TestClaimHeadersAndStrip"},
	{"authz.Condition.Claim", "authz:TestClaims"},
	{"authz.Condition.Header", "authz:TestHeaders"},
	{"authz.Condition.NotValues", "authz:TestHeaders"},
	{"authz.Condition.Values", "authz:TestHeaders"},
	{"authz.Operation.Hosts", "authz:TestHosts"},
	{"authz.Operation.Methods", "authz:TestMethods"},
	{"authz.Operation.NotHosts", "authz:TestHosts"},
	{"authz.Operation.NotMethods", "authz:TestMethods"},
	{"authz.Operation.NotPaths", "authz:TestHostilePaths"},
	{"authz.Operation.Paths", "authz:TestPlainPaths"},
	{"authz.Path.Exact", "authz:TestPlainPaths"},
	{"authz.Path.Prefix", "authz:TestPlainPaths"},
	{"authz.Policy.Mode", ".:TestInboundObserved"},
	{"authz.Policy.Rules", ".:TestInboundStagesInOrder"},
	{"authz.Rule.Action", ".:TestInboundRulesInheritFieldByField"},
	{"authz.Rule.From", ".:TestInboundStagesInOrder"},
	{"authz.Rule.Name", "authz:TestDenyWins"},
	{"authz.Rule.To", "authz:TestRuleParts"},
	{"authz.Rule.When", "authz:TestRuleParts"},
	{"authz.Source.Issuers", "authz:TestSources"},
	{"authz.Source.Networks", "authz:TestSources"},
	{"authz.Source.NotNetworks", "authz:TestSources"},
	{"authz.Source.NotPrincipals", "authz:TestSources"},
	{"authz.Source.Principals", ".:TestInboundStagesInOrder"},
	{"balancer.SlowStart.Aggression", "balancer:TestSpreadValidate"},
	{"balancer.SlowStart.MinPercent", "balancer:TestSpreadValidate"},
	{"balancer.SlowStart.Window", ".:TestSlowStartOfNewcomers"},
	{"balancer.Spread.OverProvisioning", "balancer:TestCallsSpillOverPriorities"},
	{"balancer.Spread.Panic", "balancer:TestPanicUsesWhatIsHeldForHealth"},
	{"balancer.Spread.SlowStart", ".:TestSlowStartOfNewcomers"},
	{"balancer.Spread.Strict", ".:TestRetriesLeaveThePriorityUnlessStrict"},
	{"balancer.Spread.ZoneWeights", "balancer:TestWeightedZones"},
	{"balancer.Spread.Zones", ".:TestCallsStayInTheZone"},
	{"balancer.ZoneWeight.Weight", "balancer:TestWeightedZones"},
	{"balancer.ZoneWeight.Zone", "balancer:TestWeightedZones"},
	{"breaker.Limit.InFlight", ".:TestLimit"},
	{"breaker.Limit.MaxWait", "breaker:TestMaxWait"},
	{"breaker.Limit.Mode", ".:TestLimit"},
	{"breaker.Limit.Waiting", ".:TestLimit"},
	{"breaker.Policy.Consecutive", "breaker:TestConsecutive"},
	{"breaker.Policy.FailureRate", "breaker:TestRateIsExact"},
	{"breaker.Policy.HalfOpenCalls", "breaker:TestExactlyTheTrials"},
	{"breaker.Policy.HalfOpenFor", "breaker:TestGuards"},
	{"breaker.Policy.MinCalls", "breaker:TestRateNeedsVolumeInTheWindow"},
	{"breaker.Policy.Mode", ".:TestBreakerObserved"},
	{"breaker.Policy.OpenFor", "breaker:TestRetryAfterIsWhatRemains"},
	{"breaker.Policy.SlowCall", ".:TestBreakerOfAnEndpoint"},
	{"breaker.Policy.SlowRate", "breaker:TestSlowCalls"},
	{"breaker.Policy.Window", "breaker:TestRateNeedsVolumeInTheWindow"},
	{"fault.Abort.Percent", "fault:TestShares"},
	{"fault.Abort.Reset", ".:TestFaultsOfAttempts"},
	{"fault.Abort.Status", ".:TestFaultsOfCalls"},
	{"fault.Delay.Duration", ".:TestFaultsOfCalls"},
	{"fault.Delay.Percent", "fault:TestShares"},
	{"fault.Policy.Abort", ".:TestFaultsOfCalls"},
	{"fault.Policy.Delay", ".:TestFaultsOfCalls"},
	{"fault.Policy.Match", ".:TestFaultsOfCalls"},
	{"fault.Policy.Mode", ".:TestFaultsOfCalls"},
	{"fault.Policy.PerAttempt", ".:TestFaultsOfAttempts"},
	{"health.Outliers.BaseEjectionTime", "health:TestEjectionsGrow"},
	{"health.Outliers.Consecutive5xx", "health:TestRunsOfFailures"},
	{"health.Outliers.ConsecutiveGatewayFailure", "health:TestRunsOfFailures"},
	{"health.Outliers.ConsecutiveLocalOriginFailure", "health:TestRunsOfFailures"},
	{"health.Outliers.MaxEjectionPercent", "health:TestCapWorksForFew"},
	{"health.Outliers.MaxEjectionTime", "health:TestEjectionsGrow"},
	{"health.Outliers.Mode", ".:TestOutliersObserved"},
	{"health.Outliers.Ramp", ".:TestOutlierIsEjectedAndComesBack"},
	{"health.Outliers.SuccessRateMinimumHosts", "health:TestWhoIsCompared"},
	{"health.Outliers.SuccessRateRequestVolume", "health:TestWhoIsCompared"},
	{"health.Probe.HealthyThreshold", "health:TestThresholds"},
	{"health.Probe.Host", "health:TestHTTPProbes"},
	{"health.Probe.Interval", "health:TestPlansAreKeptWhateverAnAnswerTakes"},
	{"health.Probe.Method", "health:TestHTTPProbes"},
	{"health.Probe.Mode", ".:TestProbesLeaveOutWhatFailsThem"},
	{"health.Probe.Path", ".:TestProbesLeaveOutWhatFailsThem"},
	{"health.Probe.Port", "health:TestProbeAddr"},
	{"health.Probe.Statuses", "health:TestHTTPProbes"},
	{"health.Probe.Timeout", "health:TestTheTimeoutIsForEverything"},
	{"health.Probe.UnhealthyThreshold", "health:TestThresholds"},
	{"health.StatusRange.From", "health:TestHTTPProbes"},
	{"health.StatusRange.To", "health:TestHTTPProbes"},
	{"identity.Trust.Networks", ".:TestInboundStrip"},
	{"identity.Trust.Principals", ".:TestInboundStrip"},
	{"match.Key.Cookie", "match:TestKeyHash"},
	{"match.Key.Header", ".:TestSplitIsStickyByKey"},
	{"match.Key.Principal", "match:TestKeyHash"},
	{"match.Key.Query", "match:TestKeyHash"},
	{"match.Key.Source", "match:TestKeySource"},
	{"match.Path.Exact", "match:TestMatches"},
	{"match.Path.Prefix", "match:TestMatches"},
	{"match.Path.Regex", "match:TestMatches"},
	{"match.Request.Headers", ".:TestRequestRouting"},
	{"match.Request.Hosts", ".:TestRequestRouting"},
	{"match.Request.Methods", "match:TestMatches"},
	{"match.Request.Path", "match:TestMatches"},
	{"match.Request.Principals", "match:TestMatchesPrincipals"},
	{"match.Request.Query", "match:TestMatches"},
	{"match.Value.Exact", ".:TestRequestRouting"},
	{"match.Value.Name", ".:TestRequestRouting"},
	{"match.Value.Not", "match:TestMatches"},
	{"match.Value.Prefix", "match:TestMatches"},
	{"match.Value.Regex", "match:TestMatches"},
	{"mirror.Policy.KeepCredentials", "mirror:TestCopiesAreWholeAndWithoutCredentials"},
	{"mirror.Policy.MaxBody", "mirror:TestBodiesThatAreNotCopied"},
	{"mirror.Policy.MaxInFlight", ".:TestMirrorsHurtNobody"},
	{"mirror.Policy.Percent", "mirror:TestOnlyAShareIsCopied"},
	{"mirror.Policy.Timeout", ".:TestMirrorsHurtNobody"},
	{"overload.Adaptive.Initial", ".:TestInboundAdaptiveBounds"},
	{"overload.Adaptive.Max", ".:TestInboundAdaptiveBounds"},
	{"overload.Adaptive.Min", ".:TestInboundAdaptiveBounds"},
	{"overload.Policy.Adaptive", ".:TestInboundAdaptiveBounds"},
	{"overload.Policy.Exempt", "overload:TestExempt"},
	{"overload.Policy.MaxInFlight", ".:TestInboundOverloadIsLast"},
	{"overload.Policy.MaxWait", "overload:TestMaxWait"},
	{"overload.Policy.Mode", ".:TestInboundObserved"},
	{"overload.Policy.NoReport", "overload:TestNoReport"},
	{"overload.Policy.Waiting", ".:TestInboundOverloadIsLast"},
	{"ratelimit.Config.Fields", ".:TestInboundLimitFields"},
	{"ratelimit.Config.MaxWait", "ratelimit:TestWaiting"},
	{"ratelimit.Config.OnStoreFailure", ".:TestInboundStoreDoesNotAnswer"},
	{"ratelimit.Config.Policies", ".:TestInboundRulesShareWhatTheyInherit"},
	{"ratelimit.Config.Store", ".:TestInboundStoreDoesNotAnswer"},
	{"ratelimit.Config.StoreTimeout", ".:TestInboundStoreDoesNotAnswer"},
	{"ratelimit.Config.Waiting", "ratelimit:TestWaiting"},
	{"ratelimit.Key.Claim", "ratelimit:TestKeys"},
	{"ratelimit.Key.Cookie", "ratelimit:TestKeys"},
	{"ratelimit.Key.Header", "ratelimit:TestKeys"},
	{"ratelimit.Key.IPv4Prefix", "ratelimit:TestKeys"},
	{"ratelimit.Key.IPv6Prefix", "ratelimit:TestKeys"},
	{"ratelimit.Key.Principal", ".:TestInboundStagesInOrder"},
	{"ratelimit.Key.Query", "ratelimit:TestKeys"},
	{"ratelimit.Key.Route", "ratelimit:TestKeys"},
	{"ratelimit.Key.Source", ".:TestInboundStagesInOrder"},
	{"ratelimit.Policy.Burst", "ratelimit:TestTexts"},
	{"ratelimit.Policy.Cost", ".:TestInboundRateLimitCost"},
	{"ratelimit.Policy.Key", ".:TestInboundStagesInOrder"},
	{"ratelimit.Policy.MaxKeys", "ratelimit:TestFlood"},
	{"ratelimit.Policy.Mode", ".:TestInboundObserved"},
	{"ratelimit.Policy.Name", ".:TestInboundLimitFields"},
	{"ratelimit.Policy.Period", ".:TestInboundLimitFields"},
	{"ratelimit.Policy.Requests", ".:TestInboundLimitFields"},
	{"retry.Backoff.Base", "retry:TestBackoff"},
	{"retry.Backoff.Func", "retry:TestValuesOfRetryablehttpFit"},
	{"retry.Backoff.Max", "retry:TestBackoff"},
	{"retry.BudgetPolicy.MinPerSecond", "retry:TestBudgetEarnsByCallsAndByTime"},
	{"retry.BudgetPolicy.Ratio", "retry:TestRetriesAddNoMoreThanTheBudget"},
	{"retry.Policy.Attempts", ".:TestPoliciesAreInheritedFieldByField"},
	{"retry.Policy.Backoff", "retry:TestBackoff"},
	{"retry.Policy.Budget", ".:TestApplyKeepsWhatIsEqual"},
	{"retry.Policy.BufferBody", "retry:TestABodyOverTheLimitIsSentOnceAndNotKept"},
	{"retry.Policy.CheckRetry", "retry:TestValuesOfRetryablehttpFit"},
	{"retry.Policy.Idempotent", "retry:TestWhatIsAttemptedAgain"},
	{"retry.Policy.MaxRetryAfter", "retry:TestRetryAfterIsWaitedFor"},
	{"retry.Policy.Mode", ".:TestRetryObservedRepeatsNothing"},
	{"retry.Policy.On", "retry:TestWhatIsAttemptedAgain"},
	{"retry.Policy.PerTry", ".:TestErrorsSayWhatWhereAndWhy"},
	{"retry.Policy.Statuses", "retry:TestWhatIsAttemptedAgain"},
	{"routing.Direct.Body", ".:TestAnswersOfTheMesh"},
	{"routing.Direct.ContentType", "routing:TestDirectAsSent"},
	{"routing.Direct.Header", "routing:TestDirectAsSent"},
	{"routing.Direct.Status", ".:TestAnswersOfTheMesh"},
	{"routing.Field.Name", ".:TestFiltersOnTheWay"},
	{"routing.Field.Value", ".:TestFiltersOnTheWay"},
	{"routing.Filters.Direct", ".:TestAnswersOfTheMesh"},
	{"routing.Filters.Redirect", ".:TestAnswersOfTheMesh"},
	{"routing.Filters.Request", ".:TestFiltersOnTheWay"},
	{"routing.Filters.Response", ".:TestFiltersOnTheWay"},
	{"routing.Filters.Rewrite", ".:TestFiltersOnTheWay"},
	{"routing.HeaderEdit.Add", ".:TestFiltersOnTheWay"},
	{"routing.HeaderEdit.Remove", ".:TestFiltersOnTheWay"},
	{"routing.HeaderEdit.Set", ".:TestFiltersOnTheWay"},
	{"routing.Redirect.Host", "routing:TestRedirectLocation"},
	{"routing.Redirect.Path", "routing:TestRedirectLocation"},
	{"routing.Redirect.Port", "routing:TestRedirectLocation"},
	{"routing.Redirect.Prefix", ".:TestAnswersOfTheMesh"},
	{"routing.Redirect.Scheme", "routing:TestRedirectLocation"},
	{"routing.Redirect.Status", ".:TestAnswersOfTheMesh"},
	{"routing.Rewrite.Host", ".:TestFiltersOnTheWay"},
	{"routing.Rewrite.Path", "routing:TestRewrite"},
	{"routing.Rewrite.Prefix", ".:TestFiltersOnTheWay"},
	{"tulle.BodyLimit.MaxBytes", ".:TestInboundBody"},
	{"tulle.BodyLimit.Mode", ".:TestInboundObserved"},
	{"tulle.CORS.AllowCredentials", ".:TestCORS"},
	{"tulle.CORS.AllowHeaders", ".:TestCORS"},
	{"tulle.CORS.AllowMethods", ".:TestCORS"},
	{"tulle.CORS.AllowOrigins", ".:TestCORS"},
	{"tulle.CORS.ExposeHeaders", ".:TestCORS"},
	{"tulle.CORS.MaxAge", ".:TestCORS"},
	{"tulle.Config.Inbound", ".:TestInboundStagesInOrder"},
	{"tulle.Config.Policies", ".:TestPoliciesAreInheritedFieldByField"},
	{"tulle.Config.RefuseUnknownHosts", ".:TestUnknownHostsAreRefusedOrCounted"},
	{"tulle.Config.Region", ".:TestCallsStayInTheZone"},
	{"tulle.Config.Routes", ".:TestRequestRouting"},
	{"tulle.Config.Services", ".:TestHostsOfAService"},
	{"tulle.Config.Zone", ".:TestCallsStayInTheZone"},
	{"tulle.Connection.ConnectTimeout", ".:TestConnectionLimits"},
	{"tulle.Connection.IdleTimeout", ".:TestIdleConnections"},
	{"tulle.Connection.MaxIdle", ".:TestIdleConnections"},
	{"tulle.Connection.TLSTimeout", ".:TestConnectionLimits"},
	{"tulle.Destination.Service", ".:TestRequestRouting"},
	{"tulle.Destination.Subset", ".:TestRequestRouting"},
	{"tulle.Destination.Weight", ".:TestTrafficIsSplitByWeight"},
	{"tulle.Guard.Anonymous", ".:TestInboundAnonymous"},
	{"tulle.Guard.Authn", ".:TestInboundRulesInheritFieldByField"},
	{"tulle.Guard.Authz", ".:TestInboundRulesInheritFieldByField"},
	{"tulle.Guard.Body", ".:TestInboundRulesInheritFieldByField"},
	{"tulle.Guard.CORS", ".:TestInboundRulesInheritFieldByField"},
	{"tulle.Guard.RateLimit", ".:TestInboundRulesInheritFieldByField"},
	{"tulle.Guard.Timeout", ".:TestInboundRulesInheritFieldByField"},
	{"tulle.Inbound.DrainTimeout", ".:TestServeDoesNotWaitForEver"},
	{"tulle.Inbound.Grace", ".:TestServeStopsWithoutLosingRequests"},
	{"tulle.Inbound.Guard", ".:TestInboundStagesInOrder"},
	{"tulle.Inbound.InFlight", ".:TestInboundStagesInOrder"},
	{"tulle.Inbound.Overload", ".:TestInboundOverloadIsLast"},
	{"tulle.Inbound.Rules", ".:TestInboundRulesInheritFieldByField"},
	{"tulle.Inbound.Strip", ".:TestInboundStrip"},
	{"tulle.Inbound.Trust", ".:TestInboundStrip"},
	{"tulle.Mirror.Policy", ".:TestCallsAreMirrored"},
	{"tulle.Mirror.Service", ".:TestCallsAreMirrored"},
	{"tulle.Mirror.Subset", ".:TestMirrorToASubset"},
	{"tulle.Policies.Breaker", ".:TestBreakerOfAService"},
	{"tulle.Policies.EndpointBreaker", ".:TestBreakerOfAnEndpoint"},
	{"tulle.Policies.Fault", ".:TestFaultsAreKeptAndInherited"},
	{"tulle.Policies.Limit", ".:TestLimit"},
	{"tulle.Policies.Outliers", ".:TestOutlierIsEjectedAndComesBack"},
	{"tulle.Policies.Probe", ".:TestProbesLeaveOutWhatFailsThem"},
	{"tulle.Policies.RateLimit", ".:TestRateLimitOfCalls"},
	{"tulle.Policies.Retry", ".:TestPoliciesAreInheritedFieldByField"},
	{"tulle.Policies.Timeout", ".:TestErrorsSayWhatWhereAndWhy"},
	{"tulle.RefuseUnknownHosts.Mode", ".:TestUnknownHostsAreRefusedOrCounted"},
	{"tulle.Route.Filters", ".:TestFiltersOnTheWay"},
	{"tulle.Route.Match", ".:TestRequestRouting"},
	{"tulle.Route.Mirrors", ".:TestCallsAreMirrored"},
	{"tulle.Route.Name", ".:TestRequestRouting"},
	{"tulle.Route.Policies", ".:TestPoliciesAreInheritedFieldByField"},
	{"tulle.Route.Split", ".:TestTrafficIsSplitByWeight"},
	{"tulle.Route.Sticky", ".:TestSplitIsStickyByKey"},
	{"tulle.Rule.Guard", ".:TestInboundRulesInheritFieldByField"},
	{"tulle.Rule.Match", ".:TestInboundRulesShareWhatTheyInherit"},
	{"tulle.Rule.Name", ".:TestInboundRulesShareWhatTheyInherit"},
	{"tulle.Service.Balancer", ".:TestBalancerLearns"},
	{"tulle.Service.Classifier", ".:TestClassifierJudges"},
	{"tulle.Service.Connection", ".:TestConnectionLimits"},
	{"tulle.Service.External", ".:TestHintsTravelInsideOnly"},
	{"tulle.Service.Hosts", ".:TestHostsOfAService"},
	{"tulle.Service.KeepLoadReports", ".:TestLoadReportsAreTakenOut"},
	{"tulle.Service.Key", ".:TestPoliciesGetTheHashOfTheKey"},
	{"tulle.Service.MaxWait", ".:TestWaitingInVainTellsTheFirstCause"},
	{"tulle.Service.Name", ".:TestHostsOfAService"},
	{"tulle.Service.Policies", ".:TestPoliciesAreInheritedFieldByField"},
	{"tulle.Service.Protocol", ".:TestProtocols"},
	{"tulle.Service.Resolver", ".:TestHostsOfAService"},
	{"tulle.Service.Spread", ".:TestCallsStayInTheZone"},
	{"tulle.Service.Subsets", ".:TestRequestRouting"},
	{"tulle.Service.TLS", ".:TestTLS"},
	{"tulle.Service.TraceContext", ".:TestTraceContextStaysInside"},
	{"tulle.Subset.Labels", ".:TestRequestRouting"},
	{"tulle.Subset.Name", ".:TestRequestRouting"},
	{"tulle.TLS.Certificates", ".:TestTLS"},
	{"tulle.TLS.MinVersion", ".:TestTLS"},
	{"tulle.TLS.RootCAs", ".:TestTLS"},
	{"tulle.TLS.ServerName", ".:TestTLS"},
}

// No option is accepted and ignored: each has a test of what it does.
func TestEveryFieldHasAProof(t *testing.T) {
	have := map[string]string{}
	for _, p := range proofs {
		assert.NotContains(t, have, p.field, "named twice")
		have[p.field] = p.proof
	}
	var want []string
	walk(reflect.TypeFor[tulle.Config](), map[reflect.Type]bool{}, func(field string) { want = append(want, field) })
	slices.Sort(want)
	for _, field := range want {
		assert.NotEmpty(t, have[field], "field %s has no proof", field)
	}
	tests := map[string][]string{}
	for field, proof := range have {
		assert.True(t, slices.Contains(want, field), "a proof of %s, which is not there", field)
		dir, name, ok := strings.Cut(proof, ":")
		require.True(t, ok, proof)
		if tests[dir] == nil {
			tests[dir] = testsIn(t, dir)
		}
		assert.True(t, slices.Contains(tests[dir], name), "%s is not there, the proof of %s", proof, field)
	}
}

// walk tells the fields of the module's own structs below t, by type.
func walk(t reflect.Type, seen map[reflect.Type]bool, tell func(string)) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Array:
		walk(t.Elem(), seen, tell)
	case reflect.Struct:
		if seen[t] || !strings.HasPrefix(t.PkgPath(), "github.com/tulle-mesh/tulle") {
			return
		}
		seen[t] = true
		for f := range t.Fields() {
			if f.IsExported() {
				tell(fmt.Sprintf("%s.%s", t, f.Name))
				walk(f.Type, seen, tell)
			}
		}
	}
}

// testsIn returns the names of the test functions in a directory.
func testsIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	names := []string{""}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names
}
