//
// spindle/detail/fiber/watch.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// What is done of each fiber that becomes ready, and runs, while somebody watches.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_WATCH_HPP
#define SPINDLE_DETAIL_FIBER_WATCH_HPP

#include <spindle/config.hpp>
#include <spindle/detail/fiber/record.hpp>

namespace spindle::detail {

struct processor;

// Shape
//
//   processor::unwatched   the scheduler, or null while somebody watches; it is what
//                          the short way into a run queue compares with a fiber's own
//   fiber_record::entry    what the short way onto a thread compares with zero
//
//   Who makes a fiber ready while somebody watches finds that the short way into the
//   queue is not for it. On the long way it marks the fiber, and so the thread that
//   runs it next finds that its short way is not for this fiber either.
//
// Who may touch what
//
//   entry, ready_at   who makes the fiber ready, before it is published; then the
//                     thread that has picked it
//
// Why it is free while nobody watches: both comparisons were there before, for
// fibers of other schedulers and for those of Boost.Fiber's own (doc/design/observing.adoc
// has the numbers).
//
// Evidence: test/fiber/watch.cpp

// Whoever makes `g` ready, before anybody else can see it. `by_itself`: it has given up
// its turn, or what it was about to wait for has come.
SPINDLE_DECL SPINDLE_NOINLINE void note_ready(fiber_record& g, bool by_itself = false) noexcept;

// The thread that is about to run `g`, which is noted. `p` is what it holds, or null.
SPINDLE_DECL SPINDLE_NOINLINE void note_entry(fiber_record& g, processor* p) noexcept;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_WATCH_HPP
