//
// spindle/detail/fiber/record.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// Go's G: what Spindle knows of a fiber, beside what Boost.Fiber knows.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_RECORD_HPP
#define SPINDLE_DETAIL_FIBER_RECORD_HPP

#include <spindle/config.hpp>
#include <spindle/detail/base/atomic.hpp>
#include <spindle/detail/base/clock.hpp>
#include <spindle/detail/fiber/exception_state.hpp>
#include <spindle/detail/fiber/scope.hpp>
#include <spindle/detail/fiber/wait_reason.hpp>
#include <spindle/detail/sched/core.hpp>
#include <spindle/detail/sched/runnable.hpp>

#include <boost/fiber/context.hpp>
#include <boost/fiber/properties.hpp>
#include <boost/intrusive/list_hook.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

namespace spindle::detail {

struct fiber_record;

// Runs on another stack once the fiber's registers are saved. True: the fiber
// is published, and may be running elsewhere already; it must not be touched
// any more. False: it does not park after all, and runs on soon.
using commit_function = bool (*)(void* argument) noexcept;

// Where a bound fiber runs its slices: the executor that it was spawned on.
struct slice_poster {
    // Any thread. Has the executor run one slice of `g`.
    virtual void post_slice(fiber_record& g) noexcept = 0;

    // The fiber, for a child of its own.
    virtual slice_poster* clone() const = 0;

    virtual ~slice_poster() = default;
};

// What a room above keeps with a fiber, from one function to the next.
struct record_attachment {
    virtual ~record_attachment() = default;
};

// What a stop does to a wait that is going on. Lives in the waiting frame;
// stop.hpp has the rules. Called at most once for each time that it is hooked.
struct stop_hook {
    void (*stop)(stop_hook&) noexcept;
};

// A fiber as a member of the scope that it was spawned in.
SPINDLE_DECL void reach_fiber(scope_member& m, scope_state& by, cancellation& c) noexcept;

// Whether a fiber's function was given to an executor.
enum class submitted : std::uint8_t {
    no,
    waiting, // and has not begun
    running,
    dropped, // and will not begin: the executor goes away
};

// A number that no other fiber of the process has, ever.
struct fiber_id {
    std::uint64_t value = 0;

    friend bool operator==(fiber_id, fiber_id) = default;
    friend auto operator<=>(fiber_id, fiber_id) = default;
};

// Who may touch what
//
//   the fiber itself, while it runs   everything, but for what is named below
//   the thread that switches          context, exceptions, commit, state
//   whoever holds it in a queue       next
//   any thread, while the fiber lives life, stopper (stop.hpp), state and reason
//                                     (relaxed, to look at only)
//   who has taken stopper             scope and base (scope.hpp)
//
// A record lies at the top of its fiber's stack and lives as long as that; it
// serves one function after another (fiber_pool.hpp). Records of fibers that
// were made through Boost.Fiber's own API are made on their first way through
// a run queue, and die with the fiber.
struct fiber_record : runnable, boost::fibers::fiber_properties {
    using context = boost::fibers::context;

    fiber_record() noexcept : fiber_properties(nullptr) {}
    SPINDLE_DECL ~fiber_record() override;

    // Boost.Fiber deletes the properties of a context: ours lie in the stack.
    static void* operator new(std::size_t, void* at) noexcept { return at; }
    static void operator delete(void*) noexcept {}

    context* ctx() const noexcept { return ctx_; }
    void adopt(context& c) noexcept { ctx_ = &c; }
    bool pooled() const noexcept { return (entry & entry_stock) == 0; }
    void const* where_context_is() const noexcept { return &ctx_; }
    core* scheduler() const noexcept { return home.load(std::memory_order_relaxed); }

    // Switching. Hot: on the record's first cache lines.
    commit_function commit = nullptr;
    void* commit_argument = nullptr;
    atomic<core*> home{nullptr};     // the scheduler that it belongs to, for one life
    slice_poster* bound = nullptr;   // null: free, any machine of `home` may run it
    exception_state exceptions;
    atomic<fiber_state> state{fiber_state::idle};
    atomic<wait_reason> reason{wait_reason::none};
    // What its way onto a thread must not pass by. 0: nothing.
    static constexpr std::uint8_t entry_stock = 1; // not in our loop: Boost.Fiber's own
    static constexpr std::uint8_t entry_noted = 2; // somebody watched as it became ready
    std::uint8_t entry = entry_stock;
    bool leaving = false;            // at rest, and told to end
    bool pinned = false;             // `bound` is its machine, and no executor
    submitted function = submitted::no;
    std::uint8_t budget = 0;         // operations that completed at once, in a row
    bool returned = false;           // its function has, and who waits for that is told now

    // Stop. One word says whose life it is: a stop aimed at one life never
    // hits the next.
    atomic<std::uint64_t> life{2};   // four times its number, plus 1: asked to stop, 2: over
    atomic<stop_hook*> hook{nullptr};
    atomic<bool> stopper{false};
    std::uint32_t shielded = 0;      // so many shields around it: stops are seen later
    scope_state* scope = nullptr;    // the innermost one
    scope_state* base = nullptr;     // the one that it was spawned in; counted
    scope_member membership{&reach_fiber}; // in that one
    atomic<std::stop_source*> source{nullptr};
    value_list values;               // those that it has without a scope
    std::unique_ptr<record_attachment> io; // the asio room's

    // What runs: an object in `storage`, or on the heap where it does not fit.
    void (*invoke)(fiber_record&) noexcept = nullptr;
    void* task = nullptr;

    time_point since{};              // when the wait began, by the processor's coarse clock
    time_point ready_at{};           // while somebody watches: when it became runnable
    void const* spawn_site = nullptr;
    std::string name;                // changed by set_name() and clear_name()
    std::uint64_t spawner = 0;       // the id of who spawned it, where that is asked for
    std::size_t stack_size = 0;
    std::uint64_t id = 0;
    fiber_record const* marker = this; // tells a signal handler that this is a record

    boost::intrusive::list_member_hook<> registered; // in the registry of all records

    static constexpr std::size_t storage_size = 192;
    alignas(std::max_align_t) std::byte storage[storage_size];
};

[[nodiscard]] inline fiber_id id_of(fiber_record const& g) noexcept
{
    return {g.id << 32 | (g.life.load(std::memory_order_relaxed) >> 2 & 0xffff'ffff)};
}

// The record in a context, if it is one of ours; nullptr if there is none yet.
[[nodiscard]] SPINDLE_DECL fiber_record* record_of(boost::fibers::context& c) noexcept;

// Calls f(record) for every record there is, under the registry's lock.
SPINDLE_DECL void for_each_record(void (*f)(fiber_record&, void*), void* argument);

// How many fibers are in which state; `resting`: of the process, without a function.
struct fiber_census {
    std::size_t created = 0, runnable = 0, running = 0, blocking = 0, waiting = 0, resting = 0;
};

// Of one scheduler. Any thread. Looks at each record of the process.
[[nodiscard]] SPINDLE_DECL fiber_census count_fibers(core const& home);

SPINDLE_DECL void register_record(fiber_record& g);

inline constexpr std::size_t record_part = 64;

// A way through the registry, a part at a time: in between others may enter new fibers and
// take old ones out. Sees each one that is there all the while, exactly once.
class SPINDLE_DECL record_walk {
public:
    record_walk() noexcept = default;
    record_walk(record_walk const&) = delete;
    record_walk& operator=(record_walk const&) = delete;
    ~record_walk();

    // Any thread. f(records) for the next ones, at most record_part of them, under the
    // registry's lock. False: those were the last.
    bool next(
        void (*f)(std::span<fiber_record* const>, void*), void* argument,
        std::size_t most = record_part);

private:
    fiber_record here_; // no fiber: in the list, where it goes on
    bool placed_ = false;
};

// Of a fiber that is about to begin a life, or has ended one, and has a name: others
// may be reading it (look.hpp).
SPINDLE_DECL SPINDLE_NOINLINE void set_name(fiber_record& g, std::string&& name) noexcept;
SPINDLE_DECL SPINDLE_NOINLINE void clear_name(fiber_record& g) noexcept;

// Its name, or "fiber 12".
[[nodiscard]] SPINDLE_DECL std::string display_name(fiber_record const& g);

// The same, and where it was spawned.
[[nodiscard]] SPINDLE_DECL std::string describe(fiber_record const& g);

// A code address as "function at file:line" where that is known.
[[nodiscard]] SPINDLE_DECL std::string describe_site(void const* address);

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_RECORD_HPP
