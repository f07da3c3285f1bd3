// Package schemas embeds the sources of the wire: the JSON Schemas, the
// AsyncAPI document, and the golden messages.
package schemas

import "embed"

// FS holds *.json (schemas), *.yaml (API documents) and testdata/.
//
//go:embed *.json *.yaml testdata
var FS embed.FS
