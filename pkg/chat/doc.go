// Package chat speaks the OpenAI chat-completions shape: it checks a request,
// finds its question, edits single fields of a body without touching the rest,
// and turns whole answers into stream chunks and stream chunks into whole
// answers.
//
// Bodies stay bytes. What the package does not know passes through as it came,
// so that a field a provider invents tomorrow survives the way today.
package chat
