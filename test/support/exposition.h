// A strict reader of Prometheus' text exposition format 0.0.4.
#ifndef MEMO_TEST_SUPPORT_EXPOSITION_H_
#define MEMO_TEST_SUPPORT_EXPOSITION_H_

#include <cctype>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

class Exposition {
   public:
    using Labels = std::map<std::string, std::string>;

    // Throws what is wrong with the text.
    explicit Exposition(const std::string &text) {
        std::istringstream in(text);
        std::string line;
        Require(text.empty() || text.back() == '\n', "no newline at the end");
        while (std::getline(in, line)) {
            line_ = line;
            if (line.rfind("# HELP ", 0) == 0) {
                Help(line.substr(7));
            } else if (line.rfind("# TYPE ", 0) == 0) {
                Type(line.substr(7));
            } else {
                Sample(line);
            }
        }
        CheckHistograms();
    }

    bool Has(const std::string &name, const Labels &labels) const {
        return samples_.count({name, labels}) != 0;
    }

    double Value(const std::string &name, const Labels &labels) const {
        auto at = samples_.find({name, labels});
        if (at == samples_.end()) {
            throw std::runtime_error("no sample " + name);
        }
        return at->second;
    }

    const std::map<std::string, std::string> &Types() const {
        return types_;
    }

   private:
    using Id = std::pair<std::string, Labels>;

    void Require(bool holds, const std::string &what) const {
        if (!holds) {
            throw std::runtime_error(what + ": " + line_);
        }
    }

    static bool IsName(const std::string &name) {
        size_t i = 0;
        while (i < name.size() &&
               (isalpha(name[i]) || name[i] == '_' || name[i] == ':' ||
                (i > 0 && isdigit(name[i])))) {
            i++;
        }
        return i == name.size() && i != 0;
    }

    // A family is one group of lines: help, type, samples.
    void Help(const std::string &rest) {
        std::string name = rest.substr(0, rest.find(' '));
        Require(IsName(name) && name.size() + 1 < rest.size(), "bad help");
        Require(families_.insert(name).second, "family twice");
        family_ = name;
    }

    void Type(const std::string &rest) {
        size_t space = rest.find(' ');
        std::string type = rest.substr(space + 1);
        Require(rest.substr(0, space) == family_, "type without its help");
        Require(type == "counter" || type == "gauge" || type == "histogram",
                "bad type");
        Require(types_.emplace(family_, type).second, "type twice");
        bool total = family_.size() > 6 &&
                     family_.compare(family_.size() - 6, 6, "_total") == 0;
        Require((type == "counter") == total, "counters end in _total");
    }

    void Sample(const std::string &line) {
        size_t at = line.find_first_of("{ ");
        Require(at != std::string::npos, "bad sample");
        std::string name = line.substr(0, at);
        Labels labels;
        if (line[at] == '{') {
            labels = ReadLabels(line, &at);
        }
        Require(IsName(name) && at < line.size() && line[at] == ' ',
                "bad sample");
        const char *number = line.c_str() + at + 1;
        char *end;
        double value = std::strtod(number, &end);
        Require(end != number && *end == '\0', "bad number");
        Require(Base(name) == family_, "sample outside its family");
        Require(samples_.emplace(Id(name, labels), value).second,
                "sample twice");
        if (name == family_ + "_bucket") {
            Labels others = labels;
            others.erase("le");
            Require(labels.count("le") == 1, "bucket without le");
            double le = std::strtod(labels["le"].c_str(), &end);
            Require(*end == '\0', "bad le");
            buckets_[Id(family_, others)].emplace_back(le, value);
        }
    }

    Labels ReadLabels(const std::string &line, size_t *at) {
        Labels labels;
        size_t i = *at + 1;
        while (i < line.size() && line[i] != '}') {
            size_t equals = line.find('=', i);
            Require(equals != std::string::npos && line[equals + 1] == '"',
                    "bad label");
            std::string name = line.substr(i, equals - i), value;
            for (i = equals + 2; i < line.size() && line[i] != '"'; i++) {
                if (line[i] == '\\') {
                    i++;
                    Require(line[i] == 'n' || line[i] == '\\' || line[i] == '"',
                            "bad escape");
                    value += line[i] == 'n' ? '\n' : line[i];
                } else {
                    value += line[i];
                }
            }
            Require(IsName(name) && labels.emplace(name, value).second,
                    "bad label");
            i++;
            if (i < line.size() && line[i] == ',') {
                i++;
            }
        }
        Require(i < line.size(), "labels without an end");
        *at = i + 1;
        return labels;
    }

    std::string Base(const std::string &name) const {
        auto type = types_.find(family_);
        if (type != types_.end() && type->second == "histogram") {
            for (const char *suffix : {"_bucket", "_sum", "_count"}) {
                if (name == family_ + suffix) {
                    return family_;
                }
            }
            return "";
        }
        return name;
    }

    void CheckHistograms() {
        for (auto &of : buckets_) {
            auto &buckets = of.second;
            for (size_t i = 1; i < buckets.size(); i++) {
                Require(buckets[i - 1].first < buckets[i].first &&
                            buckets[i - 1].second <= buckets[i].second,
                        "buckets of " + of.first.first + " don't add up");
            }
            Require(std::isinf(buckets.back().first), "no bucket +Inf");
            Require(Value(of.first.first + "_count", of.first.second) ==
                        buckets.back().second,
                    "count isn't the last bucket");
            Require(Has(of.first.first + "_sum", of.first.second), "no sum");
        }
    }

    std::string line_, family_;
    std::set<std::string> families_;
    std::map<std::string, std::string> types_;
    std::map<Id, double> samples_;
    std::map<Id, std::vector<std::pair<double, double>>> buckets_;
};

#endif  // MEMO_TEST_SUPPORT_EXPOSITION_H_
