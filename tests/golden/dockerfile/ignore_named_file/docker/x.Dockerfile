FROM alpine
COPY . /x
