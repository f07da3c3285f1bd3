// Package archtest holds the tests of the project's architecture: which package
// may import which, and the habits that no compiler checks. It has no code of
// its own; each test is one rule and says what to do when it is broken.
package archtest
