//
// testing/explore.cpp
// ~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/error.hpp>
#include <spindle/testing/explore.hpp>

#include <spindle/detail/asio/deterministic_core.hpp>
#include <spindle/detail/asio/spawn_fiber.hpp>
#include <spindle/detail/fiber/hooks.hpp>
#include <spindle/detail/fiber/stop.hpp>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

namespace spindle::testing {

namespace {

using spindle::detail::chooser;
using spindle::detail::deterministic_core;

std::optional<std::uint64_t> from_environment(char const* name)
{
    auto const* const text = std::getenv(name);
    if (!text || !*text)
        return std::nullopt;
    char* end;
    auto const n = std::strtoull(text, &end, 0);
    if (*end)
        throw std::invalid_argument(std::string(name) + " is no number: " + text);
    return n;
}

// What one run has come to.
struct result {
    std::string failure; // empty: none
    std::exception_ptr error;
    std::string details;
    std::uint64_t steps = 0;
    std::uint64_t fingerprint = 0;
};

// The main fiber's function.
struct root {
    std::function<void()> const& fn;
    deterministic_core& core;
    bool& returned;

    void operator()() noexcept
    {
        core.spare(*spindle::detail::current_fiber());
        try {
            fn();
        } catch (...) {
            core.fail(std::current_exception());
        }
        returned = true;
    }
};

// Those with fibers that cannot leave. Reachable, so that no leak check complains.
void keep_for_ever(std::unique_ptr<deterministic_core> core)
{
    static auto& all = *new std::vector<std::unique_ptr<deterministic_core>>;
    all.push_back(std::move(core));
}

spindle::detail::exploring settings(explore_options const& o, std::uint64_t seed)
{
    auto const pct = o.strategy == strategy::pct || (o.strategy == strategy::both && seed % 2 == 0);
    return {
        .seed = seed,
        .how = pct ? chooser::strategy::priorities : chooser::strategy::random,
        .depth = o.depth,
        .fine = o.fine_points,
        .cancel = o.faults.cancel,
        .delay = o.faults.delay,
        .stack_size = o.stack_size,
        .max_steps = o.max_steps,
        .max_time = o.max_time,
        .io_patience = o.io_patience};
}

result run_once(
    std::function<void()> const& fn,
    explore_options const& options,
    std::uint64_t seed,
    void const* site)
{
    auto core = std::make_unique<deterministic_core>(settings(options, seed));
    auto returned = false;
    spindle::detail::start_task(
        spindle::detail::place{core.get(), nullptr},
        {.name = "main"},
        site,
        root{fn, *core, returned});
    result r;
    switch (core->drive()) {
    case deterministic_core::outcome::ended:
        break;
    case deterministic_core::outcome::failed:
        r.error = core->failure();
        r.failure = spindle::detail::describe_exception(r.error);
        break;
    case deterministic_core::outcome::deadlock:
        r.failure = returned
                        ? "leaked: the function has returned, and nothing will wake these fibers"
                        : "deadlock: all fibers wait, and nothing will wake them";
        break;
    case deterministic_core::outcome::endless:
        r.failure = "it does not end: " + std::to_string(core->steps()) +
                    " steps, and these fibers are alive";
        break;
    }
    if (r.failure.empty() && options.failed && options.failed())
        r.failure = "a check has failed";
    if (!r.failure.empty())
        r.details = core->describe_fibers()
                  + (core->live() != 0 ? " where they are:\n" + core->describe_live_fibers() : "")
                  + " the last steps:\n" + core->describe_steps();
    r.steps = core->steps();
    r.fingerprint = core->fingerprint();
    if (core->live() != 0 && !core->clear_away())
        keep_for_ever(std::move(core));
    return r;
}

} // namespace

namespace detail {

exploration explore(std::function<void()> fn, explore_options const& options, void const* site)
{
    spindle::detail::require_thread();
    auto first = options.first_seed;
    auto count = from_environment("SPINDLE_SEEDS").value_or(options.seeds);
    if (auto const only = from_environment("SPINDLE_SEED")) {
        first = *only;
        count = 1;
    }
    exploration done;
    std::unordered_set<std::uint64_t> schedules;
    for (auto seed = first; seed != first + count; ++seed) {
        auto const r = run_once(fn, options, seed, site);
        ++done.seeds;
        done.steps += r.steps;
        schedules.insert(r.fingerprint);
        if (r.failure.empty())
            continue;
        auto report = "spindle: explore: seed " + std::to_string(seed) + " of " +
                      std::to_string(first) + ".." + std::to_string(first + count - 1) + ": " +
                      r.failure + '\n' + r.details;
        auto const again = run_once(fn, options, seed, site);
        if (again.failure == r.failure && again.fingerprint == r.fingerprint)
            report += " the same seed has failed again in the same way: SPINDLE_SEED=" +
                      std::to_string(seed) + " runs it alone\n";
        else
            report += " the same seed has not failed again in the same way: something else "
                      "decides, a thread, real time or I/O, addresses, or what an earlier run "
                      "has left\n";
        (options.log ? *options.log : std::cerr) << report << std::flush;
        if (r.error)
            std::rethrow_exception(r.error);
        throw schedule_error(report, seed);
    }
    done.schedules = schedules.size();
    return done;
}

} // namespace detail

void point()
{
    if (spindle::detail::current_fiber())
        spindle::detail::require_may_wait();
}

} // namespace spindle::testing
