// Package body follows a response body to its end.
package body
