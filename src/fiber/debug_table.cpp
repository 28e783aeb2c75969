//
// fiber/debug_table.cpp
// ~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle/detail/fiber/boost_access.hpp>
#include <spindle/detail/fiber/debug_table.hpp>
#include <spindle/detail/fiber/record.hpp>
#include <spindle/detail/fiber/saved_registers.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <string>

constinit std::int64_t spindle_debug[spindle_debug_entries] = {};

namespace spindle::detail {

namespace {

std::array<char const*, 16> state_names;
std::array<char const*, 64> reason_names;

template <class Enum, std::size_t N>
void fill_names(std::array<char const*, N>& names) noexcept
{
    for (std::size_t i = 0; i != N - 1; ++i) {
        auto const* const name = to_string(static_cast<Enum>(i));
        if (std::strcmp(name, "?") == 0)
            break;
        names[i] = name;
    }
}

// Where in a string its text's address lies, and its length.
void fill_string() noexcept
{
    spindle_debug[spindle_debug_string_data] = spindle_debug[spindle_debug_string_size] = -1;
    std::string const probe("a name"); // short ones are the same where that is so at all
    std::uintptr_t words[sizeof probe / sizeof(std::uintptr_t)];
    std::memcpy(words, &probe, sizeof words);
    for (std::size_t i = 0; i != std::size(words); ++i)
        if (words[i] == reinterpret_cast<std::uintptr_t>(probe.data()))
            spindle_debug[spindle_debug_string_data] =
                static_cast<std::int64_t>(i * sizeof(std::uintptr_t));
        else if (words[i] == probe.size())
            spindle_debug[spindle_debug_string_size] =
                static_cast<std::int64_t>(i * sizeof(std::uintptr_t));
}

} // namespace

void fill_debug_table(fiber_record& any, void const* root, void const* node) noexcept
{
    auto const offset = [&](void const* member) {
        return static_cast<std::byte const*>(member) - reinterpret_cast<std::byte const*>(&any);
    };
    auto& t = spindle_debug;
    t[spindle_debug_root] = reinterpret_cast<std::intptr_t>(root);
    t[spindle_debug_node] = offset(node);
    t[spindle_debug_id] = offset(&any.id);
    t[spindle_debug_life] = offset(&any.life);
    t[spindle_debug_state] = offset(&any.state);
    t[spindle_debug_reason] = offset(&any.reason);
    t[spindle_debug_name] = offset(&any.name);
    t[spindle_debug_spawn_site] = offset(&any.spawn_site);
    t[spindle_debug_spawner] = offset(&any.spawner);
    t[spindle_debug_context] = offset(any.where_context_is());
    t[spindle_debug_waits_on] = offset(&any.commit_argument);
    t[spindle_debug_since] = offset(&any.since);
    t[spindle_debug_stack_size] = offset(&any.stack_size);
    t[spindle_debug_saved] =
        static_cast<std::byte const*>(where_saved_stack_pointer_is(*any.ctx())) -
        reinterpret_cast<std::byte const*>(any.ctx());
    auto const* const saved = find_saved_registers();
    for (std::size_t i = 0; i != saved_registers::count; ++i)
        t[spindle_debug_registers + i] = saved ? saved->at[i] : -1;
    t[spindle_debug_registers + saved_registers::count] = saved ? saved->return_address : -1;
    fill_names<fiber_state>(state_names);
    fill_names<wait_reason>(reason_names);
    t[spindle_debug_state_names] = reinterpret_cast<std::intptr_t>(state_names.data());
    t[spindle_debug_reason_names] = reinterpret_cast<std::intptr_t>(reason_names.data());
    fill_string();
    std::memcpy(&t[spindle_debug_magic], "SPINDLE1", sizeof t[0]);
}

} // namespace spindle::detail
