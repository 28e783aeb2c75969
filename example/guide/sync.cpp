//
// guide/sync.cpp
// ~~~~~~~~~~~~~~
// The code of doc/guide/sync.adoc and doc/guide/sync_counting.adoc. Each piece says what
// it has come to.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <boost/asio.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using namespace std::chrono_literals;
using spindle::error_code;

namespace {

// --- a mutex ------------------------------------------------------------------------------

struct session {
    std::string name;
};

// tag::mutex[]
spindle::mutex m;
std::map<int, session> sessions; // under m

void close(int id)
{
    std::lock_guard const guard(m);
    sessions.erase(id);
}
// end::mutex[]

void many_close()
{
    for (int i = 0; i != 100; ++i)
        sessions[i].name = "session";
    spindle::task_group group;
    for (int i = 0; i != 99; ++i)
        group.spawn([i] { close(i); });
    group.wait();
    std::printf("mutex: %zu session left\n", sessions.size());
}

// tag::coroutine[]
asio::awaitable<void> open(int id)
{
    auto const lock = co_await m.async_lock(asio::use_awaitable); // unique_lock<spindle::mutex>
    sessions[id].name = "of a coroutine";
}
// end::coroutine[]

void from_elsewhere()
{
    auto const ex = spindle::this_fiber::get_executor();
    asio::co_spawn(ex, open(200), spindle::use_fiber);

    auto strand = asio::make_strand(ex);
    spindle::channel<std::string> names(1);
    // tag::handler[]
    m.async_lock(
        asio::bind_executor(strand, [=](error_code ec, std::unique_lock<spindle::mutex> lock) {
            if (ec)
                return;                                // cancelled
            names.try_send(sessions.at(200).name, ec); // a handler must not wait
            lock.unlock();                             // or by its destructor
        }));
    // end::handler[]
    std::printf("async_lock: %s\n", names.receive()->c_str());
}

// --- a condition variable -------------------------------------------------------------------

struct job {
    int number;
};

// tag::condition[]
class queue {
public:
    job next()
    {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !jobs_.empty(); });
        auto const first = jobs_.front();
        jobs_.pop_front();
        return first;
    }

    void add(job j)
    {
        {
            std::lock_guard const guard(mutex_);
            jobs_.push_back(j);
        }
        changed_.notify_one();
    }
    // end::condition[]

    // tag::async_condition[]
    asio::awaitable<job> async_next()
    {
        auto lock = co_await mutex_.async_lock(asio::use_awaitable);
        while (jobs_.empty())
            lock = co_await changed_.async_wait(std::move(lock), asio::use_awaitable);
        auto const first = jobs_.front();
        jobs_.pop_front();
        co_return first;
    }
    // end::async_condition[]
    // tag::condition[]

private:
    spindle::mutex mutex_;
    spindle::condition_variable changed_;
    std::deque<job> jobs_; // under mutex_
};
// end::condition[]

void wait_for_jobs()
{
    queue q;
    auto sum = spindle::spawn([&] {
        int all = 0;
        for (int i = 0; i != 10; ++i)
            all += q.next().number;
        return all;
    });
    for (int i = 1; i <= 10; ++i)
        q.add({i});
    std::printf("condition_variable: sum %d\n", sum.join());

    auto in_coroutine = spindle::spawn([&] {
        return asio::co_spawn(
            spindle::this_fiber::get_executor(), q.async_next(), spindle::use_fiber);
    });
    q.add({11});
    std::printf("async_wait: job %d\n", in_coroutine.join().number);
}

// --- counting ---------------------------------------------------------------------------------

struct shard {
    bool is_compact = false;
    void compact()
    {
        spindle::this_fiber::yield();
        is_compact = true;
    }
};

void compact_all()
{
    std::vector<shard> shards(20);
    // tag::wait_group[]
    spindle::wait_group group;
    for (auto& shard : shards)
        group.go([&shard] { shard.compact(); });
    group.wait();
    // end::wait_group[]
    auto const done = std::ranges::count(shards, true, &shard::is_compact);
    std::printf("wait_group: %td shards\n", done);
}

std::atomic<int> asking = 0, most = 0;

void ask(int)
{
    auto const now = ++asking;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);)
        ;
    spindle::this_fiber::sleep_for(1ms);
    --asking;
}

// tag::semaphore[]
spindle::counting_semaphore<> connections(16);

void query(int request)
{
    connections.acquire(); // parks while 16 are under way
    ask(request);
    connections.release();
}
// end::semaphore[]

void limited()
{
    spindle::task_group group;
    for (int i = 0; i != 100; ++i)
        group.spawn([i] { query(i); });
    group.wait();
    std::printf("semaphore: %d at a time\n", most.load());
}

// --- once at a time -----------------------------------------------------------------------------

using page = std::string;
std::atomic<int> downloads = 0;

page download(std::string const& url)
{
    ++downloads;
    spindle::this_fiber::sleep_for(20ms);
    return "what is at " + url;
}

// tag::singleflight[]
spindle::singleflight<std::string, page> fetches;

page get(std::string const& url)
{
    return fetches.call(url, [&] { return download(url); }).value;
}
// end::singleflight[]

void one_fetches()
{
    std::atomic<int> right = 0;
    spindle::task_group group;
    for (int i = 0; i != 1000; ++i)
        group.spawn([&] { right += get("/index") == "what is at /index"; });
    group.wait();
    std::printf(
        "singleflight: %d pages, %s\n",
        right.load(),
        downloads < 100 ? "few downloads" : "many downloads");
}

} // namespace

int main()
{
    spindle::run([] {
        many_close();
        from_elsewhere();
        wait_for_jobs();
        compact_all();
        limited();
        one_fetches();
    });
}
