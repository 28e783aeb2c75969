//
// sync/shared_mutex.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#define BOOST_TEST_MODULE sync.shared_mutex
#include <spindle/sync/shared_mutex.hpp>

#include <spindle/fiber.hpp>
#include <spindle/sync/wait_group.hpp>
#include <spindle/this_fiber.hpp>

#include <spindle/detail/fiber/park.hpp>

#include <support/child.hpp>
#include <support/cpu_time.hpp>
#include <support/fixture.hpp>
#include <support/hop.hpp>
#include <support/waiting.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <functional>
#include <mutex>
#include <numeric>
#include <shared_mutex>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using spindle::shared_mutex;
using spindle_test::over_processors;
using spindle_test::until;

constexpr auto locking = spindle::detail::wait_reason::shared_mutex;

bool waiting(std::size_t n)
{
    return until([n] { return spindle_test::fibers_in(locking) == n; });
}

} // namespace

BOOST_AUTO_TEST_CASE(readers_share_it_and_a_writer_does_not)
{
    over_processors([] {
        shared_mutex m;
        m.lock_shared();
        BOOST_TEST(m.try_lock_shared());
        BOOST_TEST(!m.try_lock());
        m.unlock_shared();
        BOOST_TEST(!m.try_lock());
        m.unlock_shared();
        BOOST_TEST(m.try_lock());
        BOOST_TEST(!m.try_lock());
        BOOST_TEST(!m.try_lock_shared());
        m.unlock();
    });
}

BOOST_AUTO_TEST_CASE(works_with_the_locks_of_std)
{
    over_processors([] {
        shared_mutex m;
        {
            std::shared_lock const one(m), two(m);
            BOOST_TEST(!std::unique_lock(m, std::try_to_lock).owns_lock());
        }
        std::unique_lock const lock(m);
        BOOST_TEST(!std::shared_lock(m, std::try_to_lock).owns_lock());
    });
}

// Go's TestParallelReaders.
BOOST_AUTO_TEST_CASE(readers_are_inside_at_the_same_time)
{
    over_processors([] {
        shared_mutex m;
        std::atomic<int> inside{0}, together{0};
        spindle::wait_group all;
        for (int i = 0; i != 10; ++i)
            all.go([&] {
                std::shared_lock const lock(m);
                ++inside;
                together += until([&] { return inside == 10; });
            });
        all.wait();
        BOOST_TEST(together == 10);
    });
}

BOOST_AUTO_TEST_CASE(a_writer_that_waits_stops_new_readers_and_then_lets_all_in)
{
    over_processors([] {
        shared_mutex m;
        bool written = false;
        std::atomic<int> read{0};
        m.lock_shared();
        auto writer = spindle::spawn([&] {
            std::unique_lock const lock(m);
            written = true;
        });
        BOOST_REQUIRE(waiting(1));
        BOOST_TEST(!m.try_lock_shared());
        spindle::wait_group readers;
        for (int i = 0; i != 5; ++i)
            readers.go([&] {
                std::shared_lock const lock(m);
                read += written;
            });
        BOOST_REQUIRE(waiting(6));
        BOOST_TEST(read == 0);
        m.unlock_shared();
        writer.join();
        readers.wait();
        BOOST_TEST(read == 5);
    });
}

// Writer, readers, writer, readers: each writer waits for the readers that came
// before it was its turn, and for no more.
BOOST_AUTO_TEST_CASE(writers_and_batches_of_readers_take_turns)
{
    over_processors([] {
        shared_mutex m;
        std::vector<char> order; // by writers alone, and by readers under another lock
        std::mutex readers_only;
        spindle::wait_group all;
        auto const write = [&] {
            std::unique_lock const lock(m);
            order.push_back('w');
        };
        auto const read = [&] {
            std::shared_lock const lock(m);
            std::lock_guard const guard(readers_only);
            order.push_back('r');
        };
        m.lock();
        std::size_t n = 0;
        for (auto const who : {'w', 'r', 'w', 'r', 'w'}) {
            if (who == 'w')
                all.go(write);
            else
                all.go(read);
            BOOST_REQUIRE(waiting(++n));
        }
        m.unlock();
        all.wait();
        BOOST_TEST((order == std::vector<char>{'r', 'r', 'w', 'w', 'w'}));
    });
}

// The bound that doc/design/mutex.adoc gives, on any number of processors: from when a
// writer waits until it owns the mutex, each of the readers has at most one section, and
// one more for each writer before it. Counted in sections, from when somebody else has
// seen it wait (lock()), or its initiation has returned (async_lock()): so nothing depends
// on who runs when. The readers never stop, and hold it while they yield: one that could
// come in past a writer would do so for ever.
BOOST_AUTO_TEST_CASE(once_a_writer_waits_each_reader_has_one_section_for_it_and_each_before_it)
{
    constexpr int readers = 6, writers = 3;
    constexpr long enough = 200'000; // or a writer that starves would do so for ever
    constexpr auto rounds = spindle_test::scaled(200);
    for (bool const async : {false, true})
        over_processors([async](spindle::scheduler& s) {
            shared_mutex m;
            std::atomic<bool> done{false};
            std::atomic<long> sections{0};
            spindle::wait_group reading;
            for (int i = 0; i != readers; ++i)
                reading.go([&] {
                    while (!done && sections < enough) {
                        std::shared_lock const lock(m);
                        ++sections;
                        spindle::this_fiber::yield();
                    }
                });
            std::vector<long> most(writers);
            for (std::size_t round = 0; round != rounds; ++round) {
                std::vector<long> from(writers);
                std::vector<std::atomic<long>> to(writers);
                std::vector<std::atomic<spindle::detail::fiber_record*>> who(writers);
                spindle::wait_group writing;
                // Nobody else is let in before all of them wait.
                std::shared_lock mine(m);
                for (std::size_t w = 0; w != writers; ++w) {
                    if (async) {
                        writing.add();
                        m.async_lock(boost::asio::bind_executor(
                            s.get_executor(),
                            [&, w](spindle::error_code, std::unique_lock<shared_mutex> lock) {
                                to[w] = sections.load();
                                lock.unlock();
                                writing.done();
                            }));
                    } else {
                        writing.go([&, w] {
                            who[w] = spindle::detail::current_fiber();
                            std::unique_lock const lock(m);
                            to[w] = sections.load();
                        });
                        BOOST_REQUIRE(until([&] {
                            return who[w] && spindle_test::is_in(*who[w].load(), locking);
                        }));
                    }
                    from[w] = sections.load();
                }
                mine.unlock();
                writing.wait();
                for (std::size_t w = 0; w != writers; ++w)
                    most[w] = std::max(most[w], to[w] - from[w]);
            }
            done = true;
            reading.wait();
            for (int w = 0; w != writers; ++w)
                BOOST_TEST(
                    most[static_cast<std::size_t>(w)] <= readers * (w + 1),
                    most[static_cast<std::size_t>(w)] << " sections before writer " << w);
            BOOST_TEST(most.back() > 0); // else nobody has read
        });
}

// Nor does a reader wait for more than a few writers, however many want it.
BOOST_AUTO_TEST_CASE(a_reader_waits_for_a_bounded_number_of_writers)
{
    for (auto const n : spindle_test::processor_counts) {
        spindle_test::on_scheduler s(spindle_test::without_rescue(n));
        s.run([&] {
            shared_mutex m;
            std::atomic<bool> done{false};
            std::atomic<int> writes{0};
            spindle::wait_group all;
            for (int i = 0; i != 6; ++i)
                all.go([&] {
                    while (!done) {
                        std::unique_lock const lock(m);
                        ++writes;
                        spindle::this_fiber::yield();
                    }
                });
            int most = 0;
            for (int i = 0; i != 100; ++i) {
                spindle::this_fiber::yield();
                auto const before = writes.load();
                std::shared_lock const lock(m);
                most = std::max(most, writes - before);
            }
            done = true;
            all.wait();
            if (n == 1)
                BOOST_TEST(most <= 3);
        });
    }
}

// Readers and writers that all want it all the time: none gets less than a third of
// what those of its kind get on the mean.
BOOST_AUTO_TEST_CASE(is_fair)
{
    for (unsigned const processors : {1u, 2u}) {
        spindle_test::on_scheduler s(processors);
        s.run([&] {
            shared_mutex m;
            std::vector<long> reads(4), writes(4);
            std::atomic<bool> done{false};
            spindle::wait_group all;
            for (auto& n : reads)
                all.go([&] {
                    while (!done) {
                        std::shared_lock const lock(m);
                        ++n;
                        spindle::this_fiber::yield();
                    }
                });
            for (auto& n : writes)
                all.go([&] {
                    while (!done) {
                        std::unique_lock const lock(m);
                        ++n;
                        spindle::this_fiber::yield();
                    }
                });
            spindle_test::sleep_while_others_compute(200ms * processors);
            done = true;
            all.wait();
            for (auto const& counts : {reads, writes}) {
                auto const mean = std::accumulate(counts.begin(), counts.end(), 0L) / 4;
                BOOST_TEST(mean > 0);
                BOOST_TEST(*std::min_element(counts.begin(), counts.end()) >= mean / 3);
            }
        });
    }
}

// Go's HammerRWMutex: plain data, sections that yield and move, try_ in between.
BOOST_AUTO_TEST_CASE(survives_a_hammer)
{
    over_processors([] {
        shared_mutex m;
        long a = 0, b = 0;
        std::atomic<long> writes{0}, torn{0};
        auto const rounds = static_cast<int>(spindle_test::scaled(2000));
        std::function<void(int)> const reader = [&](int f) {
            for (int i = 0; i != rounds; ++i) {
                if (i % 5 != 0)
                    m.lock_shared();
                else if (!m.try_lock_shared())
                    continue;
                torn += a != b;
                if (i % 16 == f)
                    spindle::this_fiber::yield();
                m.unlock_shared();
            }
        };
        std::function<void(int)> const writer = [&](int f) {
            for (int i = 0; i != rounds / 4; ++i) {
                if (i % 5 != 0)
                    m.lock();
                else if (!m.try_lock())
                    continue;
                ++writes;
                ++a;
                if (i % 16 == f)
                    spindle_test::hop();
                ++b;
                m.unlock();
            }
        };
        spindle::wait_group all;
        for (int f = 0; f != 8; ++f)
            all.go([&, f] { reader(f); });
        for (int f = 0; f != 3; ++f)
            all.go([&, f] { writer(f); });
        std::thread t([&] {
            for (int i = 0; i != rounds; ++i) {
                std::shared_lock const lock(m);
                torn += a != b;
            }
        });
        all.wait();
        t.join();
        BOOST_TEST(torn == 0);
        BOOST_TEST(a == writes);
        BOOST_TEST(b == writes);
    });
}

BOOST_AUTO_TEST_CASE(locks_are_not_cancellation_points)
{
    over_processors([] {
        shared_mutex m;
        m.lock();
        auto w = spindle::spawn([&] { std::unique_lock const lock(m); });
        auto r = spindle::spawn([&] { std::shared_lock const lock(m); });
        BOOST_REQUIRE(waiting(2));
        w.request_stop();
        r.request_stop();
        m.unlock();
        w.join();
        r.join();
    });
}

BOOST_AUTO_TEST_CASE(a_handler_is_refused_whether_it_is_free_or_not)
{
    spindle_test::on_scheduler s(2);
    shared_mutex m;
    std::atomic<int> refused{0};
    std::atomic<bool> ran{false};
    auto const try_both = [&] {
        for (auto const& lock : {std::function<void()>([&] { m.lock(); }),
                                 std::function<void()>([&] { m.lock_shared(); })})
            try {
                lock();
            } catch (spindle::system_error const& e) {
                refused += e.code() == spindle::errc::not_in_fiber;
            }
    };
    boost::asio::post(s->get_executor(), [&] {
        try_both();
        std::unique_lock const guard(m, std::try_to_lock);
        try_both();
        ran = true;
    });
    BOOST_TEST(spindle_test::eventually([&] { return ran.load(); }));
    BOOST_TEST(refused == 4);
}

BOOST_AUTO_TEST_CASE(misuse_ends_the_process_with_a_message)
{
    auto const writer = spindle_test::in_child([] {
        shared_mutex m;
        m.unlock();
    });
    BOOST_TEST(writer.by_signal(SIGABRT));
    BOOST_TEST(writer.says("no writer has locked"), writer.text);
    auto const reader = spindle_test::in_child([] {
        shared_mutex m;
        m.unlock_shared();
    });
    BOOST_TEST(reader.by_signal(SIGABRT));
    BOOST_TEST(reader.says("no reader has locked"), reader.text);
    auto const gone = spindle_test::in_child([] {
        shared_mutex m;
        m.lock_shared();
    });
    BOOST_TEST(gone.by_signal(SIGABRT));
    BOOST_TEST(gone.says("destroyed"), gone.text);
}
