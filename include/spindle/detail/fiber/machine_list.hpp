//
// spindle/detail/fiber/machine_list.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
// All threads of the process that have a machine, and what runs on each.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_DETAIL_FIBER_MACHINE_LIST_HPP
#define SPINDLE_DETAIL_FIBER_MACHINE_LIST_HPP

#include <spindle/config.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace spindle::detail {

class machine;
struct fiber_record;

// What a thread did at some moment of the call. What is pointed to may be gone: to
// compare only.
struct machine_sight {
    machine const* of;
    fiber_record const* fiber; // null: none
    long thread;               // the system's number
    bool blocking;             // inside blocking()
    bool hired;                // a scheduler's own thread
    bool stock;                // has work for Boost.Fiber's dispatcher, or may have
};

// For a thread that makes no fiber ready, as long as this lives: it writes down what
// goes on, waits for the end of a scheduler, or for work that there may never be. Who
// looks for others that could wake somebody passes it by.
class SPINDLE_DECL bystander {
public:
    // Whether the thread has been given work, and may not have noticed: then it is none.
    // Any thread, under a lock of the list's. Who gives the work has made that true before
    // it sleeps; the thread has left the list before it makes it false.
    using called_function = bool (*)(void const* argument) noexcept;

    explicit bystander(called_function called = nullptr, void const* argument = nullptr) noexcept;
    bystander(bystander const&) = delete;
    bystander& operator=(bystander const&) = delete;
    ~bystander();

    // Any thread. The system's numbers of those threads.
    static void list(std::vector<long>& out);

private:
    struct all;

    long const thread_;
    long const process_;
    called_function const called_;
    void const* const argument_;
    bystander* previous_ = nullptr; // in the list, under its lock
    bystander* next_ = nullptr;
};

// Any thread. The numbers of all threads of the process; false: they cannot be known.
[[nodiscard]] SPINDLE_DECL bool list_threads(std::vector<long>& out);

// A machine's place in the list, for as long as it lives.
class SPINDLE_DECL machine_entry {
public:
    // On its thread.
    explicit machine_entry(machine& m) noexcept;
    machine_entry(machine_entry const&) = delete;
    machine_entry& operator=(machine_entry const&) = delete;
    ~machine_entry();

    // Any thread.
    static void list(std::vector<machine_sight>& out);

private:
    struct all;

    machine& machine_;
    long const thread_;
    machine_entry* previous_ = nullptr;
    machine_entry* next_ = nullptr;
};

// Any thread. A word, or a byte, that its owner may be changing: to be judged by
// what else is known.
[[nodiscard]] SPINDLE_DECL std::uintptr_t peek(void const* word) noexcept;
[[nodiscard]] SPINDLE_DECL bool peek(bool const& flag) noexcept;
[[nodiscard]] SPINDLE_DECL std::uint8_t peek(std::uint8_t const& flags) noexcept;

// Any thread. n bytes that may lie in memory which was given back: the system reads
// them, and says so.
[[nodiscard]] SPINDLE_DECL bool peek_carefully(void* out, void const* from, std::size_t n) noexcept;

// As peek(), of n words.
SPINDLE_DECL void peek(std::uintptr_t* out, void const* from, std::size_t n) noexcept;

} // namespace spindle::detail

#endif // SPINDLE_DETAIL_FIBER_MACHINE_LIST_HPP
