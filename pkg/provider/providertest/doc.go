// Package providertest is the contract that every provider adapter passes, over
// real HTTP: a scripted server speaks the adapter's protocol, well and badly,
// and Run looks at what the adapter makes of it.
package providertest
