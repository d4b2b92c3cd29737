//go:build linux

package otel_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const docs = "../../../docs"

// promtool runs it in a directory.
func promtool(t *testing.T, path, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The rules of docs/alerts.yaml are valid and do what their tests say, and no
// rule could be left out without a test that notices.
func TestAlertRules(t *testing.T) {
	path, ok := program(t, "promtool", "prometheus")
	if !ok {
		return
	}
	out, err := promtool(t, path, docs, "check", "rules", "alerts.yaml")
	require.NoError(t, err, out)
	out, err = promtool(t, path, docs, "test", "rules", "alerts_test.yaml")
	require.NoError(t, err, out)

	rules, err := os.ReadFile(filepath.Join(docs, "alerts.yaml"))
	require.NoError(t, err)
	tests, err := os.ReadFile(filepath.Join(docs, "alerts_test.yaml"))
	require.NoError(t, err)
	names := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1)
	require.NotEmpty(t, names)
	// Under other names all of them are missing at once; each is missed by name.
	dir := t.TempDir()
	without := strings.ReplaceAll(string(rules), "- alert: ", "- alert: Other")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts.yaml"), []byte(without), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts_test.yaml"), tests, 0o600))
	out, err = promtool(t, path, dir, "test", "rules", "alerts_test.yaml")
	require.Error(t, err)
	for _, name := range names {
		assert.Contains(t, out, "alertname: "+name[1]+",", "no test notices that it is missing")
	}
}

// Rules ask for metrics that there are, so that none is silent for a name.
func TestAlertsAskForWhatThereIs(t *testing.T) {
	there := map[string]bool{}
	for name, kind := range documented(t) {
		there[nameOf(name, kind)] = true
	}
	rules, err := os.ReadFile(filepath.Join(docs, "alerts.yaml"))
	require.NoError(t, err)
	labels := regexp.MustCompile(`by \([^)]*\)|\{[^}]*\}`)
	asked := 0
	for _, rule := range strings.Split(string(rules), "expr:")[1:] {
		expr, _, _ := strings.Cut(rule, "labels:")
		for _, name := range regexp.MustCompile(`\b(tulle|http_client|http_server)_\w+`).FindAllString(labels.ReplaceAllString(expr, ""), -1) {
			asked++
			assert.True(t, there[name], "%s is no metric", name)
		}
	}
	assert.GreaterOrEqual(t, asked, 16)
}
