//
// support/crew.hpp
// ~~~~~~~~~~~~~~~~
// Threads and fibers that do the same thing at the same time.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_CREW_HPP
#define SPINDLE_TEST_SUPPORT_CREW_HPP

#include <spindle/go.hpp>

#include <support/fixture.hpp>

#include <functional>
#include <thread>
#include <vector>

namespace spindle_test {

// `each` threads and `each` fibers of `s`. The threads have ended when it goes; that
// the fibers have is for the test to see to.
class crew {
public:
    crew(on_scheduler& s, int each, std::function<void()> const& body)
    {
        for (int i = 0; i != each; ++i)
            threads_.emplace_back(body);
        s.run([&] {
            for (int i = 0; i != each; ++i)
                spindle::go(body);
        });
    }
    crew(crew const&) = delete;
    crew& operator=(crew const&) = delete;

    ~crew()
    {
        for (auto& t : threads_)
            t.join();
    }

private:
    std::vector<std::thread> threads_;
};

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_CREW_HPP
