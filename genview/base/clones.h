// For loops that are compiled for several instruction sets, one of which is chosen when the program starts. What they
// compute must not depend on the width of a register. Sanitizers cannot instrument what chooses.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__clang__)
#define GENVIEW_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define GENVIEW_CLONES
#endif
#define GENVIEW_INLINE inline __attribute__((always_inline))
