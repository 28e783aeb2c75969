//
// asio/asio_core.cpp
// ~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/asio/asio_core.hpp>

#include <spindle/detail/base/fatal.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/dump.hpp>
#include <spindle/detail/fiber/gate.hpp>
#include <spindle/detail/fiber/machine.hpp>
#include <spindle/detail/fiber/machine_list.hpp>
#include <spindle/detail/fiber/stop.hpp>
#include <spindle/error.hpp>

#include <boost/asio/detail/call_stack.hpp>
#include <boost/asio/detail/strand_executor_service.hpp>
#include <boost/asio/detail/strand_service.hpp>
#include <boost/asio/detail/thread_context.hpp>
#include <boost/core/demangle.hpp>

#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <vector>

#if defined(__GNUC__)
#include <cxxabi.h>
#endif

namespace spindle::detail {

namespace {

// --- what Asio has on this thread ---------------------------------------------------

using executor_strand = boost::asio::detail::strand_executor_service::implementation_type;
using executor_strand_impl = executor_strand::element_type;
using classic_strand = boost::asio::detail::strand_service::implementation_type;
using classic_strand_impl = std::remove_pointer_t<classic_strand>;

// The innermost frame of one list. Where the compiler knows thread-local variables,
// Asio's is the same for all pointers to such frames; elsewhere a frame is known by
// the value in it.
template <class Key, class Value = unsigned char>
inline void const* innermost_frame() noexcept
{
    using list = boost::asio::detail::call_stack<Key, Value>;
#if defined(BOOST_ASIO_HAS_THREAD_KEYWORD_EXTENSION)
    using frame = typename list::context;
    return static_cast<frame*>(boost::asio::detail::keyword_tss_ptr<frame>());
#else
    return list::top();
#endif
}

inline void const* head_of_threads() noexcept
{
    return innermost_frame<
        boost::asio::detail::thread_context,
        boost::asio::detail::thread_info_base>();
}

// The thread-locals are Asio's: reached behind a call that never parks.
SPINDLE_NOINLINE void mark_asio(void const* (&heads)[asio_heads]) noexcept
{
    heads[0] = head_of_threads();
    heads[1] = innermost_frame<executor_strand_impl>();
    heads[2] = innermost_frame<classic_strand_impl>();
}

inline bool are_heads(void const* const (&heads)[asio_heads]) noexcept
{
    return heads[0] == head_of_threads() && heads[1] == innermost_frame<executor_strand_impl>() &&
           heads[2] == innermost_frame<classic_strand_impl>();
}

SPINDLE_NOINLINE bool asio_unchanged(void const* const (&heads)[asio_heads]) noexcept
{
    return are_heads(heads);
}

SPINDLE_NOINLINE fiber_record* asio_gate() { return pass_gate(&are_heads); }

// Before main(), and so before any fiber.
[[maybe_unused]] bool const hooked = [] {
    hooks::get().set(&mark_asio, &asio_unchanged, &asio_gate);
    return true;
}();

latency_histogram public_form(latency_values const& v) noexcept
{
    static_assert(latency_histogram::bucket_count == latency_values::buckets);
    latency_histogram h;
    h.counts = v.counts;
    h.total = std::chrono::nanoseconds(v.total_ns);
    return h;
}

} // namespace

constinit atomic<unsigned> asio_core::unusual_{0};

std::string describe_exception(std::exception_ptr e) noexcept
try {
    std::rethrow_exception(e);
} catch (std::exception const& x) {
    return boost::core::demangle(typeid(x).name()) + ": " + x.what();
} catch (...) {
#if defined(__GNUC__)
    if (auto const* const type = abi::__cxa_current_exception_type())
        return "an exception of type " + boost::core::demangle(type->name());
#endif
    return "an exception";
}

scheduler_stats asio_core::stats(bool quick) const
{
    scheduler_stats s;
    auto latency = latency_elsewhere().values();
    auto const n = processor_count();
    s.by_processor.resize(n);
    for (unsigned i = 0; i != n; ++i) {
        auto const& from = at(i);
        auto& p = s.by_processor[i];
        auto const v = from.stats.values();
        p.id = i;
        p.queued = from.size_hint();
        p.spawned = v.spawned;
        p.finished = v.finished;
        p.switches = v.switches;
        p.parks = v.parks;
        p.steals = v.steals;
        p.stolen = v.stolen;
        p.overflows = v.overflows;
        p.global_takes = v.global_takes;
        p.polls = v.polls;
        p.idles = v.idles;
        auto const waited = from.latency.values();
        p.latency = public_form(waited);
        latency += waited;
        s.queued += p.queued;
        s.spawned += p.spawned;
        s.finished += p.finished;
        s.switches += p.switches;
        s.parks += p.parks;
        s.steals += p.steals;
        s.stolen += p.stolen;
        s.overflows += p.overflows;
        s.global_takes += p.global_takes;
        s.polls += p.polls;
        s.idles += p.idles;
    }
    s.latency = public_form(latency);
    s.measures_latency = (watched() & watch_latency) != 0;
    s.queued_globally = global_size_hint();
    s.queued += s.queued_globally;
    s.spawned += spawned_elsewhere();
    s.finished += finished_elsewhere();
    add_stats(s);
    s.fibers = live();
    if (!quick) {
        auto const c = count_fibers(*this);
        s.states = {c.created, c.runnable, c.running, c.blocking, c.waiting, c.resting};
    }
    return s;
}

void asio_core::report(std::exception_ptr e, fiber_info const& info) noexcept
{
    if (options_.unhandled_exception) {
        options_.unhandled_exception(e, info);
        return;
    }
    std::fprintf(
        stderr,
        "spindle: unhandled exception in %s, spawned from %s\n"
        "  %s\n"
        "  wait for the fiber (spawn with a token, fiber<R>), or set "
        "scheduler_options::unhandled_exception\n",
        info.name.c_str(), info.spawned_from.c_str(), describe_exception(e).c_str());
    std::terminate();
}

void asio_core::unhandled(fiber_record const& g) noexcept
{
    report(std::current_exception(), {display_name(g), describe_site(g.spawn_site)});
}

void asio_core::unhandled_elsewhere() noexcept
{
    report(
        std::current_exception(),
        {"a fiber whose spindle::fiber was destroyed without join()", "its owner"});
}

void asio_core::unhandled_in_handler() noexcept
{
    report(std::current_exception(), {"a completion handler", "an asynchronous operation"});
}

void asio_core::run_abandoned(fiber_record& g) noexcept
{
    auto* const m = machine::ensure();
    if (!m)
        fatal(
            "an execution context that has fibers was destroyed in a fiber; destroy it on a "
            "thread's own stack");
    if (m->may_run())
        m->run(g, 1);
    else
        m->postpone(g);
}

// --- the end ---------------------------------------------------------------------------

void asio_core::on_last() noexcept
{
    // seq_cst, as live(): the waiter counts itself, then looks at live().
    if (waiting_for_end_.load(std::memory_order_seq_cst) != 0) {
        std::lock_guard guard(end_mutex_);
        ended_.notify_all();
    }
}

void asio_core::await_end(time_point deadline) noexcept
{
    waiting_for_end_.fetch_add(1, std::memory_order_seq_cst);
    std::unique_lock guard(end_mutex_);
    auto const ended = [&] { return live() == 0; };
    if (deadline == time_point::max()) {
        bystander const here;
        ended_.wait(guard, ended);
    } else if (!ended_.wait_until(guard, deadline, ended)) {
        give_up_waiting();
    }
    guard.unlock();
    waiting_for_end_.fetch_sub(1, std::memory_order_seq_cst);
}

void asio_core::give_up_waiting() noexcept
{
    std::fprintf(
        stderr,
        "spindle: fatal: %zu fibers have not left their scheduler within its "
        "shutdown_grace:\n",
        live());
    print_live_fibers();
    std::terminate();
}

std::string asio_core::describe_live_fibers() const { return dump_text({.only = this}); }

void asio_core::print_live_fibers() const noexcept
try {
    auto const text = describe_live_fibers();
    std::fwrite(text.data(), 1, text.size(), stderr);
} catch (std::exception const& e) {
    std::fprintf(stderr, "  (they could not be listed: %s)\n", e.what());
}

void asio_core::report_left(fiber_record const* but) noexcept
try {
    if (!options_.on_left || live() == (but ? 1 : 0))
        return;
    auto const left = collect_fibers(
        {.stacks = false, .only = this},
        [id = but ? id_of(*but) : fiber_id()](fiber_sight const& s) {
            return s.id != id && !s.returned; // who has joined it took it for over
        });
    std::vector<fiber_info> infos;
    for (auto const& f : left)
        infos.push_back(
            {f.seen.name.empty() ? "fiber " + std::to_string(f.seen.number)
                                 : '"' + f.seen.name + '"',
             describe_site(f.seen.spawn_site)});
    if (!infos.empty())
        options_.on_left(infos);
} catch (std::bad_alloc const&) {
    // no memory for a report
}

} // namespace spindle::detail
