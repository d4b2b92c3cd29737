package outcome

import "fmt"

// Class is what one attempt says about the endpoint that it was made at. It
// is what breakers, outlier detection and balancing policies count.
type Class uint8

const (
	// Neutral says nothing about the endpoint: the caller went away, a hedge
	// lost, the mesh itself refused, or too little time was left to judge by.
	Neutral Class = iota
	// Success is an answer that does not blame the endpoint: 1xx, 2xx, 3xx
	// and every 4xx except 429.
	Success
	// Overload is an endpoint asking for less: 429, or gRPC
	// RESOURCE_EXHAUSTED. It is no failure: the endpoint works.
	Overload
	// ServerError is an endpoint saying that it failed: a 5xx that is not
	// Gateway, or a gRPC code of the same meaning.
	ServerError
	// Gateway is 502, 503 or 504, or gRPC UNAVAILABLE: the endpoint, or what
	// stands before or behind it, cannot serve now.
	Gateway
	// Connect means that no connection could be had. Nothing was sent.
	Connect
	// Reset means that the connection ended before the response was whole.
	Reset
	// Timeout means that no response headers came in the time allowed.
	Timeout
)

var classNames = [...]string{
	"neutral", "success", "overload", "server_error", "gateway", "connect", "reset", "timeout",
}

// String returns the class as a lower-case word fit for a metric label.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "unknown"
}

// MarshalText makes a Class readable in snapshots and golden files.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (c *Class) UnmarshalText(text []byte) error {
	for i, name := range classNames {
		if name == string(text) {
			*c = Class(i)
			return nil
		}
	}
	return fmt.Errorf("outcome: class %q is unknown", text)
}

// Failed reports whether the class counts against the endpoint: ServerError,
// Gateway, Connect, Reset or Timeout.
func (c Class) Failed() bool { return c >= ServerError && c <= Timeout }
