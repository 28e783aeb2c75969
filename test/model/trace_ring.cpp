//
// model/trace_ring.cpp
// ~~~~~~~~~~~~~~~~~~~~
// A thread that writes events into a ring of two, and one that collects them, under
// Relacy.
//
// Mutants (the text of each is in mutants.txt; each must fail here):
//   W   written_ stored, or loaded, relaxed
//   B   without either fence; begun_ stored after the words; events that have begun are
//       not left out
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define SPINDLE_TEST_ATOMIC <model/relacy_atomic.hpp>
#include <spindle/detail/sched/trace_ring.hpp>

#include <memory>
#include <vector>

namespace {

using namespace spindle::detail;

struct writer_and_reader : rl::test_suite<writer_and_reader, 2> {
    static constexpr std::uint64_t events = 5;
    std::unique_ptr<trace_ring> ring;

    void before() { ring = std::make_unique<trace_ring>(2); }
    void after() { ring.reset(); }

    static trace_event numbered(std::uint64_t n)
    {
        trace_event e;
        e.time = e.fiber = e.value = n + 1;
        e.processor = static_cast<std::uint32_t>(n + 1);
        return e;
    }

    void writer()
    {
        for (std::uint64_t n = 0; n != events; ++n)
            ring->push(numbered(n));
    }

    void reader()
    {
        for (int k = 0; k != 2; ++k) {
            std::vector<trace_event> seen;
            auto n = ring->collect(seen);
            for (auto const& e : seen) {
                ++n;
                RL_ASSERT(e.time == n && e.fiber == n && e.value == n && e.processor == n);
            }
        }
    }

    void thread(unsigned index) { index == 0 ? writer() : reader(); }
};

} // namespace

int main(int argc, char** argv)
{
    return spindle::model::passes<writer_and_reader>("trace_ring", argc, argv, 200000) ? 0 : 1;
}
