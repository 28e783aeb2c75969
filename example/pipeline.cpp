// build: options
//
// pipeline.cpp
// ~~~~~~~~~~~~
// The prime sieve: a chain of fibers, with a channel between each and the next.
// The first sends 2, 3, 4, ...; each of the others lets through what its own
// prime does not divide. What comes out of the last one is the next prime. After
// Hoare, Communicating Sequential Processes, 1978.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#include <spindle.hpp>

#include <boost/program_options.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

namespace {

using number = std::uint64_t;

// It never ends by itself. Once it is asked to stop, send() throws, and the fiber
// is left by that exception.
void generate(spindle::send_channel<number> out)
{
    for (number n = 2;; ++n)
        out.send(n);
}

void filter(spindle::receive_channel<number> in, spindle::send_channel<number> out, number prime)
{
    for (number n : in)
        if (n % prime != 0)
            out.send(n);
}

struct options {
    long count = 25;
    long capacity = 0;
    unsigned short threads = 0;
    bool stats = false;
};

int sieve(options const& o)
{
    auto const capacity = static_cast<std::size_t>(o.capacity);
    spindle::channel<number> numbers(capacity);
    spindle::go({.name = "generator"}, generate, numbers);
    for (long i = 0; i != o.count; ++i) {
        auto const prime = *numbers.receive(); // nobody closes these channels
        std::cout << prime << '\n';
        spindle::channel<number> rest(capacity);
        spindle::go({.name = "filter " + std::to_string(prime)}, filter, numbers, rest, prime);
        numbers = rest;
    }
    if (o.stats) {
        auto const stats = spindle::this_fiber::get_scheduler().stats();
        std::cout << "fibers=" << stats.spawned << " switches=" << stats.switches
                  << " steals=" << stats.steals << '\n';
    }
    // run() stops the generator and the filters now, and waits for them. With the
    // last of their handles go the channels.
    return 0;
}

options parse(int argc, char** argv)
{
    namespace po = boost::program_options;
    options o;
    po::options_description known("Prints prime numbers, by a chain of fibers. Options");
    auto add = known.add_options();
    add("count", po::value(&o.count)->default_value(o.count), "how many primes");
    add("capacity",
        po::value(&o.capacity)->default_value(o.capacity),
        "numbers that fit into each channel; 0: a number is handed over, fiber to fiber");
    add("threads",
        po::value(&o.threads)->default_value(o.threads),
        "how many; 0: one for each core");
    add("stats", po::bool_switch(&o.stats), "print a line of numbers at the end");
    add("help", "print this");
    po::variables_map values;
    po::store(po::parse_command_line(argc, argv, known), values);
    po::notify(values);
    if (values.count("help") != 0) {
        std::cout << known;
        std::exit(0);
    }
    if (o.count < 0 || o.count > 100'000)
        throw po::error("--count is 0 to 100000: each prime has a fiber");
    if (o.capacity < 0 || o.capacity > 1'000'000)
        throw po::error("--capacity is 0 to 1000000");
    if (o.threads > 1024)
        throw po::error("--threads is 0 to 1024");
    return o;
}

} // namespace

int main(int argc, char** argv)
{
    try {
        auto const o = parse(argc, argv);
        return spindle::run([&] { return sieve(o); }, {.processors = o.threads});
    } catch (std::exception const& e) {
        std::cerr << "pipeline: " << e.what() << '\n';
        return 1;
    }
}
