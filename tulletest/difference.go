package tulletest

// Difference is what a wrapped handler may do otherwise than the handler alone.
type Difference uint8

const (
	// PanicsAnswered is for wraps that answer a handler's panic, if nothing of
	// the response has been sent, with status 500 and pass the panic on as it
	// is. The server then gives up the connection, or over HTTP/2 the stream.
	// Over HTTP/1.1 the client has all of the answer before that, and knows by
	// Connection: close that nothing more can be sent; over HTTP/2, where a
	// server can end a stream well only when its handler returns, it has the
	// header and the body, and then the reset in the place of the end.
	// A panic with http.ErrAbortHandler is not answered, and nothing is added
	// to a response that has begun.
	PanicsAnswered Difference = iota + 1
	// PreflightsAnswered is for wraps that answer preflights of CORS in the
	// place of the handler: an OPTIONS with the fields Origin and
	// Access-Control-Request-Method, with status 200 or 204 and no body. All
	// other OPTIONS are the handler's.
	PreflightsAnswered
)
