// The C library's allocator, which Swift uses for everything but weights and KV blocks.
#pragma once

// Large pieces come from the system and go back to it when they are freed, whatever was freed
// before: the allocator would otherwise raise this bound with every such piece, and keep megabytes
// of a request's text for ever.
void k_allocator_settle(void);

// Gives what is free back to the system. Takes milliseconds.
void k_allocator_trim(void);
