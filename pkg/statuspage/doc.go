// Package statuspage reads the public status pages of providers, in the form
// that Statuspage v2 and its imitators serve. What they say corroborates a
// diagnosis and never decides one: pages lag behind, and some never change.
package statuspage
