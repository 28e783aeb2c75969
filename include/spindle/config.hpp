//
// spindle/config.hpp
// ~~~~~~~~~~~~~~~~~~
// What the library needs of its compiler and of Boost; its few macros.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_CONFIG_HPP
#define SPINDLE_CONFIG_HPP

#include <boost/config.hpp>
#include <boost/version.hpp>

#include <version> // for __GLIBCXX__

#if defined(_MSVC_LANG)
#if _MSVC_LANG < 202002L
#error "Spindle needs C++20: compile with /std:c++20 or later."
#endif
#elif __cplusplus < 202002L
#error "Spindle needs C++20: compile with -std=c++20 or later."
#endif

#if BOOST_VERSION < 108100
#error "Spindle needs Boost 1.81 or later."
#endif

// Boost 1.88 to 1.91 save and restore the exception state of a fiber through
// a pointer that they cached before the switch. A fiber that resumes on
// another thread then writes into the exception state of the old one.
#if defined(__GLIBCXX__) && BOOST_VERSION >= 108800 && BOOST_VERSION < 109200 \
    && !defined(SPINDLE_BOOST_CONTEXT_IS_PATCHED)
#error "Boost.Context 1.88 to 1.91 corrupts the exception state of fibers that change threads. \
Use Boost 1.81 to 1.87 or 1.92 and later, or patch boost/context/fiber_fcontext.hpp so that it \
calls __cxa_get_globals() again after the switch, and define SPINDLE_BOOST_CONTEXT_IS_PATCHED."
#endif

// SPINDLE_DECL: on what is compiled into the library and called from outside.
// SPINDLE_DYN_LINK is defined by the build of a shared library and by its
// users, SPINDLE_SOURCE by the build alone.
#if defined(SPINDLE_DYN_LINK)
#if defined(SPINDLE_SOURCE)
#define SPINDLE_DECL BOOST_SYMBOL_EXPORT
#else
#define SPINDLE_DECL BOOST_SYMBOL_IMPORT
#endif
#else
#define SPINDLE_DECL
#endif

// SPINDLE_NOINLINE: for functions that touch a thread-local. A function that
// is only not inlined may still be found to be constant by its body, and its
// result kept across a switch of threads; so gcc is told to look at nothing.
// clang has no such attribute: the body needs an empty asm volatile as well.
#if defined(__GNUC__) && !defined(__clang__)
#define SPINDLE_NOINLINE __attribute__((noinline, noipa))
#else
#define SPINDLE_NOINLINE BOOST_NOINLINE
#endif

// SPINDLE_FLATTEN: what the function calls is inlined where it can be. On the few
// functions that every switch goes through: there calls and the registers that they
// save were a third of all instructions.
#if defined(__GNUC__)
#define SPINDLE_FLATTEN __attribute__((flatten))
#else
#define SPINDLE_FLATTEN
#endif

// SPINDLE_ASAN, SPINDLE_TSAN: defined where that sanitizer is compiled in.
#if defined(__has_feature) // clang
#if __has_feature(address_sanitizer)
#define SPINDLE_ASAN
#endif
#if __has_feature(thread_sanitizer)
#define SPINDLE_TSAN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(SPINDLE_ASAN)
#define SPINDLE_ASAN
#endif
#if defined(__SANITIZE_THREAD__) && !defined(SPINDLE_TSAN)
#define SPINDLE_TSAN
#endif

#endif // SPINDLE_CONFIG_HPP
